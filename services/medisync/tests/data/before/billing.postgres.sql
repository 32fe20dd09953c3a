SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.account (
    id uuid NOT NULL,
    patient_id uuid NOT NULL,
    status text NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    CONSTRAINT account_status_check CHECK ((status = 'ACTIVE'::text))
);
CREATE TABLE public.audit (
    seq bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    role text,
    action text NOT NULL,
    outcome text NOT NULL,
    record text,
    patients text NOT NULL,
    source text,
    trace text,
    link bytea NOT NULL
);
CREATE TABLE public.consumer_position (
    consumer_group text NOT NULL,
    topic text NOT NULL,
    part bigint NOT NULL,
    next_offset bigint NOT NULL
);
CREATE TABLE public.dead_letter (
    id bigint NOT NULL,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    part bigint NOT NULL,
    log_offset bigint NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    error text NOT NULL,
    died_at timestamp with time zone NOT NULL
);
ALTER TABLE public.dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.kit_schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);
CREATE TABLE public.outbox (
    id bigint NOT NULL,
    topic text NOT NULL,
    record_key text NOT NULL,
    headers text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000');
ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.refinery_schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);
CREATE TABLE public.secret (
    name text NOT NULL,
    value bytea NOT NULL
);
INSERT INTO public.account VALUES ('01a22e26-0cc8-7532-bbd6-9a7bda958a8f', '123e4567-e89b-12d3-a456-426614174000', 'ACTIVE', '2026-11-30 20:29:35.304296+00');
INSERT INTO public.account VALUES ('01a22e26-0cdc-74aa-9da0-49a4a61979de', '123e4567-e89b-12d3-a456-426614174001', 'ACTIVE', '2026-11-30 20:29:35.324801+00');
INSERT INTO public.account VALUES ('01a22e26-0d9b-7339-b0a2-ee5aece1f32e', '123e4567-e89b-12d3-a456-426614174002', 'ACTIVE', '2026-11-30 20:29:35.515633+00');
INSERT INTO public.account VALUES ('01a22e26-0dd7-7533-bf80-d6bb2e4ba016', '123e4567-e89b-12d3-a456-426614174003', 'ACTIVE', '2026-11-30 20:29:35.575941+00');
INSERT INTO public.account VALUES ('01a22e26-0e3e-75de-9011-976608329e5e', '223e4567-e89b-12d3-a456-426614174005', 'ACTIVE', '2026-11-30 20:29:35.678784+00');
INSERT INTO public.account VALUES ('01a22e26-0eab-743d-a536-dcfbac21e786', '223e4567-e89b-12d3-a456-426614174006', 'ACTIVE', '2026-11-30 20:29:35.787045+00');
INSERT INTO public.account VALUES ('01a22e26-0ec7-70c5-ac59-e4041f7fbd54', '223e4567-e89b-12d3-a456-426614174009', 'ACTIVE', '2026-11-30 20:29:35.815217+00');
INSERT INTO public.account VALUES ('01a22e26-0f55-703c-b870-722397cdd962', '223e4567-e89b-12d3-a456-426614174008', 'ACTIVE', '2026-11-30 20:29:35.957476+00');
INSERT INTO public.account VALUES ('01a22e26-0fc2-74d5-bd88-2ed9104888d4', '223e4567-e89b-12d3-a456-426614174007', 'ACTIVE', '2026-11-30 20:29:36.066058+00');
INSERT INTO public.account VALUES ('01a22e26-107a-7217-9ed0-3c8c5e9b864d', '223e4567-e89b-12d3-a456-426614174010', 'ACTIVE', '2026-11-30 20:29:36.2503+00');
INSERT INTO public.account VALUES ('01a22e26-10c4-76d9-bee1-3d4ac4a5b840', '223e4567-e89b-12d3-a456-426614174011', 'ACTIVE', '2026-11-30 20:29:36.324857+00');
INSERT INTO public.account VALUES ('01a22e26-10dd-72b8-a7da-47008d2633ad', '223e4567-e89b-12d3-a456-426614174012', 'ACTIVE', '2026-11-30 20:29:36.349506+00');
INSERT INTO public.account VALUES ('01a22e26-10ed-7104-ada8-526f232f6e73', '223e4567-e89b-12d3-a456-426614174013', 'ACTIVE', '2026-11-30 20:29:36.365973+00');
INSERT INTO public.account VALUES ('01a22e26-113a-771a-a993-2d45e9ab2b5b', '223e4567-e89b-12d3-a456-426614174014', 'ACTIVE', '2026-11-30 20:29:36.442177+00');
INSERT INTO public.account VALUES ('01a22e26-11b5-70f2-9922-1f12e85924b7', '123e4567-e89b-12d3-a456-426614174004', 'ACTIVE', '2026-11-30 20:29:36.56509+00');
INSERT INTO public.account VALUES ('01a22e26-1629-7127-bd9e-ac424ea57414', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', 'ACTIVE', '2026-11-30 20:29:37.705052+00');
INSERT INTO public.account VALUES ('01a22e26-180e-7562-b890-cecea8b24d6f', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', 'ACTIVE', '2026-11-30 20:29:38.190108+00');
INSERT INTO public.audit VALUES (1, '2026-11-30 20:29:35.4492+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0cc8-7532-bbd6-9a7bda958a8f', '123e4567-e89b-12d3-a456-426614174000', '127.0.0.1', '69d9cbf569624451917e1d2cc7760ba9', '\x86e3ba79232ef938e7f73e6d5535bd8a953040e1a00afe4e53d14514a561d88f');
INSERT INTO public.audit VALUES (2, '2026-11-30 20:29:35.479232+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0cdc-74aa-9da0-49a4a61979de', '123e4567-e89b-12d3-a456-426614174001', '127.0.0.1', '201a58d65f544e01824d162cd3e62446', '\x428f4f72d7ab21f59d36387e0bac8eb7c5cfec4239f126504f10cf90fe2b21bd');
INSERT INTO public.audit VALUES (3, '2026-11-30 20:29:35.594028+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0dd7-7533-bf80-d6bb2e4ba016', '123e4567-e89b-12d3-a456-426614174003', '127.0.0.1', '424d68767eec404391b178c2d80d3155', '\x4dd96b75e2a94b18e24ea027c2af6c1b401c2d04e53ef4807b6696b8fb4f2339');
INSERT INTO public.audit VALUES (4, '2026-11-30 20:29:35.734209+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0e3e-75de-9011-976608329e5e', '223e4567-e89b-12d3-a456-426614174005', '127.0.0.1', 'b7152982a1da4a0192fbbe19ab00f6ac', '\xb9241724560a774d1e1b02e4267b2e3a004dcd3aa8c05555a8a670ac472b3515');
INSERT INTO public.audit VALUES (5, '2026-11-30 20:29:35.679728+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0d9b-7339-b0a2-ee5aece1f32e', '123e4567-e89b-12d3-a456-426614174002', '127.0.0.1', '7afc21c96c394be795b60f4da40fcca0', '\xc7732d068bdf99f35368ec24dbe26174e697e95412247693286ad5be842d44c7');
INSERT INTO public.audit VALUES (6, '2026-11-30 20:29:35.817324+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0eab-743d-a536-dcfbac21e786', '223e4567-e89b-12d3-a456-426614174006', '127.0.0.1', '2b054939a59f4c5eae3a10d959ea4bb7', '\x19e872baa34250548969ccf75221958316b49539632e4ac101352c5cfc6590c6');
INSERT INTO public.audit VALUES (7, '2026-11-30 20:29:35.865047+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0ec7-70c5-ac59-e4041f7fbd54', '223e4567-e89b-12d3-a456-426614174009', '127.0.0.1', 'febfceda889849eb97bdc3596551b3a1', '\x19adc3b300b76f1c8d98dea60b2a358f6f187c76f937124eccdf3053b3d7bfee');
INSERT INTO public.audit VALUES (8, '2026-11-30 20:29:36.004785+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0f55-703c-b870-722397cdd962', '223e4567-e89b-12d3-a456-426614174008', '127.0.0.1', '676a341e51f44ba9a4eb69d2eaed65c0', '\x95b35783483c069f9c69d4f8828a61823e30b371bfb341d49e261018cd73e17c');
INSERT INTO public.audit VALUES (9, '2026-11-30 20:29:36.172513+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0fc2-74d5-bd88-2ed9104888d4', '223e4567-e89b-12d3-a456-426614174007', '127.0.0.1', '2c0a250c9b564509afaffa6a497abf1c', '\xf36952e04508fba06f459b8f911bffc11ea84b823e22e129440da0cc25d85ef8');
INSERT INTO public.audit VALUES (10, '2026-11-30 20:29:36.277596+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-107a-7217-9ed0-3c8c5e9b864d', '223e4567-e89b-12d3-a456-426614174010', '127.0.0.1', '2b92e1fd15c14c8087147dc3453f5785', '\x14aa14734d828d465257c57e15662993d53535bf806e2cb8722ccfe485dd14f3');
INSERT INTO public.audit VALUES (11, '2026-11-30 20:29:36.340488+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-10c4-76d9-bee1-3d4ac4a5b840', '223e4567-e89b-12d3-a456-426614174011', '127.0.0.1', 'bbb25da932a64035879440b59664cc9d', '\x6ed37f6347072b3498bfc5f1c0cfe1f45faa692cf618db66fe8114afbe7de496');
INSERT INTO public.audit VALUES (12, '2026-11-30 20:29:36.353236+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-10dd-72b8-a7da-47008d2633ad', '223e4567-e89b-12d3-a456-426614174012', '127.0.0.1', '45f01f2b9b6b498aa11ec66aa0e29dc0', '\xa768c8282863a71a8f9de65dee7d5b8fa2af97eeb2a7d7342f6588d23d4ef1bb');
INSERT INTO public.audit VALUES (13, '2026-11-30 20:29:36.379852+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-10ed-7104-ada8-526f232f6e73', '223e4567-e89b-12d3-a456-426614174013', '127.0.0.1', 'ba1eff72712b4b8eb756b234a7b96032', '\xe69ad9b0c9325bb9581ea7c16efdd03228a247d989fc5c00b01b69f0a4648aa6');
INSERT INTO public.audit VALUES (14, '2026-11-30 20:29:36.476751+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-113a-771a-a993-2d45e9ab2b5b', '223e4567-e89b-12d3-a456-426614174014', '127.0.0.1', '3ee3705464ca4c5a98a7e5e7d18d7129', '\xe7e030a30a4e69339da5a54570f9a76ac5999ec54d3dc37a8115be7f20dafc8d');
INSERT INTO public.audit VALUES (15, '2026-11-30 20:29:36.584755+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-11b5-70f2-9922-1f12e85924b7', '123e4567-e89b-12d3-a456-426614174004', '127.0.0.1', 'f8a0bc3817194f10a3968f5ac33f3d69', '\x9c47ca843622efd64b4a838d445396034369226b0ed59dc63d90585ff014a249');
INSERT INTO public.audit VALUES (16, '2026-11-30 20:29:37.717248+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-1629-7127-bd9e-ac424ea57414', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '127.0.0.1', '306ebfa85a304f46bd365b08f55520cd', '\x4e69cd08c1721de094f00d12648a9c77822222d5ef0eb2dde0643f9cec0fb7e8');
INSERT INTO public.audit VALUES (17, '2026-11-30 20:29:38.200771+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-180e-7562-b890-cecea8b24d6f', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '127.0.0.1', '93327b2bb13c409bb5da029dd8064a3b', '\x489301e59ad80ad7eecf482ea68ce41f7e43f2bcca85000b12832dac10d92d98');
INSERT INTO public.kit_schema_history VALUES (1, 'kit', '2026-11-30T20:29:32.348643076Z', '3567147015999418136');
INSERT INTO public.kit_schema_history VALUES (2, 'dead_letter', '2026-11-30T20:29:32.388727985Z', '12305146646326787567');
INSERT INTO public.kit_schema_history VALUES (3, 'outbox_vacuum', '2026-11-30T20:29:32.44006391Z', '3887569686158578218');
INSERT INTO public.kit_schema_history VALUES (4, 'audit', '2026-11-30T20:29:32.476469298Z', '7286015825024414435');
INSERT INTO public.refinery_schema_history VALUES (1, 'accounts', '2026-11-30T20:29:32.552866778Z', '15959427822832692734');
INSERT INTO public.secret VALUES ('cursor', '\xe25a95f3eafe36e744be9c38e3ef5d1eced32fd297363ff7fdf2cad7a66ec3dc');
INSERT INTO public.secret VALUES ('audit-key-id', '\xa270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
SELECT pg_catalog.setval('public.dead_letter_id_seq', 1, false);
SELECT pg_catalog.setval('public.outbox_id_seq', 1, false);
ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_patient_id UNIQUE (patient_id);
ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.consumer_position
    ADD CONSTRAINT consumer_position_pkey PRIMARY KEY (consumer_group, topic, part);
ALTER TABLE ONLY public.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.kit_schema_history
    ADD CONSTRAINT kit_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (name);
CREATE INDEX account_opened_at ON public.account USING btree (opened_at, id);
CREATE INDEX dead_letter_group ON public.dead_letter USING btree (consumer_group, id);
CREATE UNIQUE INDEX dead_letter_source ON public.dead_letter USING btree (consumer_group, topic, part, log_offset);

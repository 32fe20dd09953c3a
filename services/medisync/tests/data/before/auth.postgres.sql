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
CREATE TABLE public.audit_copy (
    writer text NOT NULL,
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
CREATE TABLE public.audit_copy_patient (
    patient uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    writer text NOT NULL,
    seq bigint NOT NULL
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
CREATE TABLE public.known_places (
    place_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    seen_at timestamp with time zone NOT NULL
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
CREATE TABLE public.refresh_tokens (
    token_hash bytea NOT NULL,
    session_id uuid NOT NULL,
    spent bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.revocations (
    id bigint NOT NULL,
    session_id uuid NOT NULL,
    until_s bigint NOT NULL
);
ALTER TABLE public.revocations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.revocations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.secret (
    name text NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE public.service_accounts (
    id uuid NOT NULL,
    name text NOT NULL,
    name_key text NOT NULL,
    role text NOT NULL,
    key_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone
);
CREATE TABLE public.service_sessions (
    id uuid NOT NULL,
    account_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.turn (
    id bigint NOT NULL,
    taken bigint NOT NULL,
    CONSTRAINT turn_id_check CHECK ((id = 1))
);
CREATE TABLE public.users (
    id uuid NOT NULL,
    email text NOT NULL,
    email_key text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL,
    disabled bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    signed_in_at timestamp with time zone
);
INSERT INTO public.audit VALUES (1, '2026-11-30 20:29:36.684661+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0c71-731e-9500-50d830e34640', '', NULL, NULL, '\x9faf2e4e69a908a2a9b172821f3962678bffbc213efd2b6bb70ef6716b43fc50');
INSERT INTO public.audit VALUES (2, '2026-11-30 20:29:36.803053+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0c41-7424-b2d6-31257c966bf2', '', NULL, NULL, '\x7dee65f661611d2b8b3986a38c3b109e7c0dc0223aa07541b8fda5c8d5d61bf5');
INSERT INTO public.audit VALUES (3, '2026-11-30 20:29:36.84991+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0bac-7751-b4a3-2dcc11d681d6', '', NULL, NULL, '\x14eb76ce1ee0a7e0d76d5b10ba5014a1ac5aedc4bec0ffd04e0e8480b42ec327');
INSERT INTO public.audit VALUES (4, '2026-11-30 20:29:36.874756+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0c1d-7086-8460-de1c3c97dca0', '', NULL, NULL, '\x175510270c8086313d91f3d446edbae94a52c0d18aa33d3979ae844a42e60447');
INSERT INTO public.audit VALUES (5, '2026-11-30 20:29:36.917165+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0ae8-7434-9286-a85fa5b289c1', '', NULL, NULL, '\x41256c46e8c3b38705918b3e53719db409d690edac07d5ea2db6750983f19430');
INSERT INTO public.audit VALUES (6, '2026-11-30 20:29:37.530648+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'session.begin', 'allowed', '01a22e26-1570-734e-a1e1-c1855685152c', '', '127.0.0.1', 'e4f2a7e17a98417e8714faad5b4cc67b', '\x9f015c56161093d27772435124cbef5a2e83cc960ac0619efa3c060d5a9ef110');
INSERT INTO public.audit VALUES (7, '2026-11-30 20:29:38.942205+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'user.create', 'allowed', '01a22e26-1ad0-71d7-aebc-91023341cb5a', '', '127.0.0.1', '19e04285982b4619b6acf08ad6cc9c3e', '\x2f38ac70c8ff956f42f5c5e04268c73cee75ffb823d1495854b6f02895f2bf6d');
INSERT INTO public.audit_copy VALUES ('billing', 1, '2026-11-30 20:29:35.4492+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0cc8-7532-bbd6-9a7bda958a8f', '123e4567-e89b-12d3-a456-426614174000', '127.0.0.1', '69d9cbf569624451917e1d2cc7760ba9', '\x86e3ba79232ef938e7f73e6d5535bd8a953040e1a00afe4e53d14514a561d88f');
INSERT INTO public.audit_copy VALUES ('billing', 2, '2026-11-30 20:29:35.479232+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0cdc-74aa-9da0-49a4a61979de', '123e4567-e89b-12d3-a456-426614174001', '127.0.0.1', '201a58d65f544e01824d162cd3e62446', '\x428f4f72d7ab21f59d36387e0bac8eb7c5cfec4239f126504f10cf90fe2b21bd');
INSERT INTO public.audit_copy VALUES ('billing', 3, '2026-11-30 20:29:35.594028+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0dd7-7533-bf80-d6bb2e4ba016', '123e4567-e89b-12d3-a456-426614174003', '127.0.0.1', '424d68767eec404391b178c2d80d3155', '\x4dd96b75e2a94b18e24ea027c2af6c1b401c2d04e53ef4807b6696b8fb4f2339');
INSERT INTO public.audit_copy VALUES ('billing', 4, '2026-11-30 20:29:35.734209+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0e3e-75de-9011-976608329e5e', '223e4567-e89b-12d3-a456-426614174005', '127.0.0.1', 'b7152982a1da4a0192fbbe19ab00f6ac', '\xb9241724560a774d1e1b02e4267b2e3a004dcd3aa8c05555a8a670ac472b3515');
INSERT INTO public.audit_copy VALUES ('billing', 5, '2026-11-30 20:29:35.679728+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0d9b-7339-b0a2-ee5aece1f32e', '123e4567-e89b-12d3-a456-426614174002', '127.0.0.1', '7afc21c96c394be795b60f4da40fcca0', '\xc7732d068bdf99f35368ec24dbe26174e697e95412247693286ad5be842d44c7');
INSERT INTO public.audit_copy VALUES ('billing', 6, '2026-11-30 20:29:35.817324+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0eab-743d-a536-dcfbac21e786', '223e4567-e89b-12d3-a456-426614174006', '127.0.0.1', '2b054939a59f4c5eae3a10d959ea4bb7', '\x19e872baa34250548969ccf75221958316b49539632e4ac101352c5cfc6590c6');
INSERT INTO public.audit_copy VALUES ('billing', 7, '2026-11-30 20:29:35.865047+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0ec7-70c5-ac59-e4041f7fbd54', '223e4567-e89b-12d3-a456-426614174009', '127.0.0.1', 'febfceda889849eb97bdc3596551b3a1', '\x19adc3b300b76f1c8d98dea60b2a358f6f187c76f937124eccdf3053b3d7bfee');
INSERT INTO public.audit_copy VALUES ('patient', 1, '2026-11-30 20:29:35.024312+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174000', '123e4567-e89b-12d3-a456-426614174000', NULL, NULL, '\x47d0b67c9c717cb448e4a6e5c333ba21ce42b3fb410911d63a8aa3e43fe2546c');
INSERT INTO public.audit_copy VALUES ('patient', 2, '2026-11-30 20:29:35.096359+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174001', '123e4567-e89b-12d3-a456-426614174001', NULL, NULL, '\x0e8ff20da60de59f4c2f0a289dd5dffb9f76122701405ddedfe98f92e5c4ed94');
INSERT INTO public.audit_copy VALUES ('patient', 3, '2026-11-30 20:29:35.096478+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174002', '123e4567-e89b-12d3-a456-426614174002', NULL, NULL, '\x90b599e4675ad84c34c1e6af4157ffcdee1d087ca763c00f01ed7906e21fd91e');
INSERT INTO public.audit_copy VALUES ('patient', 4, '2026-11-30 20:29:35.133135+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174003', '123e4567-e89b-12d3-a456-426614174003', NULL, NULL, '\x6ccb7d697711947f6f8212be60aca777d5a8e48fe2949da82fb0774ea67e5b3b');
INSERT INTO public.audit_copy VALUES ('patient', 5, '2026-11-30 20:29:35.170078+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174005', '223e4567-e89b-12d3-a456-426614174005', NULL, NULL, '\x8bc44a0fd3df1e873b9aee9276f8725e1024181e0745893a69ab3b98e373f5b7');
INSERT INTO public.audit_copy VALUES ('patient', 6, '2026-11-30 20:29:35.209085+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174006', '223e4567-e89b-12d3-a456-426614174006', NULL, NULL, '\x1dfeb638553aa83e69f78730220689ff27a17a805384253f6030d5cab78a5e1f');
INSERT INTO public.audit_copy VALUES ('patient', 7, '2026-11-30 20:29:35.292638+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174009', '223e4567-e89b-12d3-a456-426614174009', NULL, NULL, '\x0318c2e4af6412ab69edf570020dfb84150b624515a94a616cf022d0ddff7bfb');
INSERT INTO public.audit_copy VALUES ('patient', 8, '2026-11-30 20:29:35.20913+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174008', '223e4567-e89b-12d3-a456-426614174008', NULL, NULL, '\x4ed85cb35729d3fc4059b0153f8b130dea3e67dc6c78023c897edca0675bc727');
INSERT INTO public.audit_copy VALUES ('patient', 9, '2026-11-30 20:29:35.209118+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174007', '223e4567-e89b-12d3-a456-426614174007', NULL, NULL, '\xf27f7a6cc5a1d49d735fda652e5a3132e5b58d833ff4dbc28df1db8dc55b0ee9');
INSERT INTO public.audit_copy VALUES ('billing', 8, '2026-11-30 20:29:36.004785+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0f55-703c-b870-722397cdd962', '223e4567-e89b-12d3-a456-426614174008', '127.0.0.1', '676a341e51f44ba9a4eb69d2eaed65c0', '\x95b35783483c069f9c69d4f8828a61823e30b371bfb341d49e261018cd73e17c');
INSERT INTO public.audit_copy VALUES ('billing', 9, '2026-11-30 20:29:36.172513+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-0fc2-74d5-bd88-2ed9104888d4', '223e4567-e89b-12d3-a456-426614174007', '127.0.0.1', '2c0a250c9b564509afaffa6a497abf1c', '\xf36952e04508fba06f459b8f911bffc11ea84b823e22e129440da0cc25d85ef8');
INSERT INTO public.audit_copy VALUES ('billing', 10, '2026-11-30 20:29:36.277596+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-107a-7217-9ed0-3c8c5e9b864d', '223e4567-e89b-12d3-a456-426614174010', '127.0.0.1', '2b92e1fd15c14c8087147dc3453f5785', '\x14aa14734d828d465257c57e15662993d53535bf806e2cb8722ccfe485dd14f3');
INSERT INTO public.audit_copy VALUES ('billing', 11, '2026-11-30 20:29:36.340488+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-10c4-76d9-bee1-3d4ac4a5b840', '223e4567-e89b-12d3-a456-426614174011', '127.0.0.1', 'bbb25da932a64035879440b59664cc9d', '\x6ed37f6347072b3498bfc5f1c0cfe1f45faa692cf618db66fe8114afbe7de496');
INSERT INTO public.audit_copy VALUES ('billing', 12, '2026-11-30 20:29:36.353236+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-10dd-72b8-a7da-47008d2633ad', '223e4567-e89b-12d3-a456-426614174012', '127.0.0.1', '45f01f2b9b6b498aa11ec66aa0e29dc0', '\xa768c8282863a71a8f9de65dee7d5b8fa2af97eeb2a7d7342f6588d23d4ef1bb');
INSERT INTO public.audit_copy VALUES ('billing', 13, '2026-11-30 20:29:36.379852+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-10ed-7104-ada8-526f232f6e73', '223e4567-e89b-12d3-a456-426614174013', '127.0.0.1', 'ba1eff72712b4b8eb756b234a7b96032', '\xe69ad9b0c9325bb9581ea7c16efdd03228a247d989fc5c00b01b69f0a4648aa6');
INSERT INTO public.audit_copy VALUES ('patient', 10, '2026-11-30 20:29:35.449852+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174010', '223e4567-e89b-12d3-a456-426614174010', NULL, NULL, '\x08788cd8fd37ac0169a78bb567620f5ec0885de4167ae2c66782605fb08edffa');
INSERT INTO public.audit_copy VALUES ('patient', 11, '2026-11-30 20:29:35.571253+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174011', '223e4567-e89b-12d3-a456-426614174011', NULL, NULL, '\xca21354c94317820755ceb46cba26e4fcbc2c17902027637e471996e2f2d61c5');
INSERT INTO public.audit_copy VALUES ('patient', 12, '2026-11-30 20:29:35.736872+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174012', '223e4567-e89b-12d3-a456-426614174012', NULL, NULL, '\xa9e90959eeb3ace17fd27c880630a156d7132350f80c135918794b17f38b34b3');
INSERT INTO public.audit_copy VALUES ('patient', 13, '2026-11-30 20:29:35.798127+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174013', '223e4567-e89b-12d3-a456-426614174013', NULL, NULL, '\xdfb59569ca57efc91d9aae57caf3a98b11302532ac81dd207e86bf75104d92b8');
INSERT INTO public.audit_copy VALUES ('patient', 14, '2026-11-30 20:29:35.864619+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174014', '223e4567-e89b-12d3-a456-426614174014', NULL, NULL, '\x2afd21801c04a62fa4976cb57a68e3abb61fe79c9d61f9c0fe0248f7999d51bb');
INSERT INTO public.audit_copy VALUES ('patient', 15, '2026-11-30 20:29:35.880508+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174004', '123e4567-e89b-12d3-a456-426614174004', NULL, NULL, '\xa513fa5dd935c333ff3a5decdb94771a6e11769dafe4cea5dae4a812c70ba8bb');
INSERT INTO public.audit_copy VALUES ('billing', 14, '2026-11-30 20:29:36.476751+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-113a-771a-a993-2d45e9ab2b5b', '223e4567-e89b-12d3-a456-426614174014', '127.0.0.1', '3ee3705464ca4c5a98a7e5e7d18d7129', '\xe7e030a30a4e69339da5a54570f9a76ac5999ec54d3dc37a8115be7f20dafc8d');
INSERT INTO public.audit_copy VALUES ('billing', 15, '2026-11-30 20:29:36.584755+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-11b5-70f2-9922-1f12e85924b7', '123e4567-e89b-12d3-a456-426614174004', '127.0.0.1', 'f8a0bc3817194f10a3968f5ac33f3d69', '\x9c47ca843622efd64b4a838d445396034369226b0ed59dc63d90585ff014a249');
INSERT INTO public.audit_copy VALUES ('auth', 1, '2026-11-30 20:29:36.684661+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0c71-731e-9500-50d830e34640', '', NULL, NULL, '\x9faf2e4e69a908a2a9b172821f3962678bffbc213efd2b6bb70ef6716b43fc50');
INSERT INTO public.audit_copy VALUES ('auth', 2, '2026-11-30 20:29:36.803053+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0c41-7424-b2d6-31257c966bf2', '', NULL, NULL, '\x7dee65f661611d2b8b3986a38c3b109e7c0dc0223aa07541b8fda5c8d5d61bf5');
INSERT INTO public.audit_copy VALUES ('auth', 3, '2026-11-30 20:29:36.84991+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0bac-7751-b4a3-2dcc11d681d6', '', NULL, NULL, '\x14eb76ce1ee0a7e0d76d5b10ba5014a1ac5aedc4bec0ffd04e0e8480b42ec327');
INSERT INTO public.audit_copy VALUES ('auth', 4, '2026-11-30 20:29:36.874756+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0c1d-7086-8460-de1c3c97dca0', '', NULL, NULL, '\x175510270c8086313d91f3d446edbae94a52c0d18aa33d3979ae844a42e60447');
INSERT INTO public.audit_copy VALUES ('auth', 5, '2026-11-30 20:29:36.917165+00', 'system', NULL, 'user.create', 'allowed', '01a22e26-0ae8-7434-9286-a85fa5b289c1', '', NULL, NULL, '\x41256c46e8c3b38705918b3e53719db409d690edac07d5ea2db6750983f19430');
INSERT INTO public.audit_copy VALUES ('auth', 6, '2026-11-30 20:29:37.530648+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'session.begin', 'allowed', '01a22e26-1570-734e-a1e1-c1855685152c', '', '127.0.0.1', 'e4f2a7e17a98417e8714faad5b4cc67b', '\x9f015c56161093d27772435124cbef5a2e83cc960ac0619efa3c060d5a9ef110');
INSERT INTO public.audit_copy VALUES ('patient', 16, '2026-11-30 20:29:37.684539+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.create', 'allowed', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '127.0.0.1', '306ebfa85a304f46bd365b08f55520cd', '\xc24d49c8030756eb817c2bb1dfddde124e0cbaa8235ce7c857f393df054d184a');
INSERT INTO public.audit_copy VALUES ('billing', 16, '2026-11-30 20:29:37.717248+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-1629-7127-bd9e-ac424ea57414', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '127.0.0.1', '306ebfa85a304f46bd365b08f55520cd', '\x4e69cd08c1721de094f00d12648a9c77822222d5ef0eb2dde0643f9cec0fb7e8');
INSERT INTO public.audit_copy VALUES ('patient', 19, '2026-11-30 20:29:38.375703+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.delete', 'allowed', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '127.0.0.1', 'b25d4e30f6ac4ab296a1e9057519f0b2', '\x97a6015cb913861659ccd802ad6e96667249ebfb7fabd78892bb343bd1837c90');
INSERT INTO public.audit_copy VALUES ('patient', 17, '2026-11-30 20:29:38.030767+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.update', 'allowed', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '127.0.0.1', 'ffcbac7e4ef44dbeabb2a411089dc74a', '\x3d0eef386782d52675625b4690bfa1b35caea20ef2c267130eb163e8ff919af0');
INSERT INTO public.audit_copy VALUES ('auth', 7, '2026-11-30 20:29:38.942205+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'user.create', 'allowed', '01a22e26-1ad0-71d7-aebc-91023341cb5a', '', '127.0.0.1', '19e04285982b4619b6acf08ad6cc9c3e', '\x2f38ac70c8ff956f42f5c5e04268c73cee75ffb823d1495854b6f02895f2bf6d');
INSERT INTO public.audit_copy VALUES ('billing', 17, '2026-11-30 20:29:38.200771+00', 'spiffe://medisync/patient', NULL, 'account.open', 'allowed', '01a22e26-180e-7562-b890-cecea8b24d6f', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '127.0.0.1', '93327b2bb13c409bb5da029dd8064a3b', '\x489301e59ad80ad7eecf482ea68ce41f7e43f2bcca85000b12832dac10d92d98');
INSERT INTO public.audit_copy VALUES ('analytics', 1, '2026-11-30 20:29:39.273651+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'analytics.read', 'allowed', NULL, '', '127.0.0.1', 'c093626445f24caf835d06148a6ac443', '\xfd40665acc783b8982ac47d6afc516989f52a1e090a64c0b0335f0efbcfc995a');
INSERT INTO public.audit_copy VALUES ('patient', 18, '2026-11-30 20:29:38.175892+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.create', 'allowed', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '127.0.0.1', '93327b2bb13c409bb5da029dd8064a3b', '\x194b4a9087a0a2e031b78a564cea1900c9d71d3b46a0b74ae6b668539de0bcf1');
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174000', '2026-11-30 20:29:35.4492+00', 'billing', 1);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174001', '2026-11-30 20:29:35.479232+00', 'billing', 2);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174003', '2026-11-30 20:29:35.594028+00', 'billing', 3);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174005', '2026-11-30 20:29:35.734209+00', 'billing', 4);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174002', '2026-11-30 20:29:35.679728+00', 'billing', 5);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174006', '2026-11-30 20:29:35.817324+00', 'billing', 6);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174009', '2026-11-30 20:29:35.865047+00', 'billing', 7);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174000', '2026-11-30 20:29:35.024312+00', 'patient', 1);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174001', '2026-11-30 20:29:35.096359+00', 'patient', 2);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174002', '2026-11-30 20:29:35.096478+00', 'patient', 3);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174003', '2026-11-30 20:29:35.133135+00', 'patient', 4);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174005', '2026-11-30 20:29:35.170078+00', 'patient', 5);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174006', '2026-11-30 20:29:35.209085+00', 'patient', 6);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174009', '2026-11-30 20:29:35.292638+00', 'patient', 7);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174008', '2026-11-30 20:29:35.20913+00', 'patient', 8);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174007', '2026-11-30 20:29:35.209118+00', 'patient', 9);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174008', '2026-11-30 20:29:36.004785+00', 'billing', 8);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174007', '2026-11-30 20:29:36.172513+00', 'billing', 9);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174010', '2026-11-30 20:29:36.277596+00', 'billing', 10);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174011', '2026-11-30 20:29:36.340488+00', 'billing', 11);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174012', '2026-11-30 20:29:36.353236+00', 'billing', 12);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174013', '2026-11-30 20:29:36.379852+00', 'billing', 13);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174010', '2026-11-30 20:29:35.449852+00', 'patient', 10);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174011', '2026-11-30 20:29:35.571253+00', 'patient', 11);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174012', '2026-11-30 20:29:35.736872+00', 'patient', 12);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174013', '2026-11-30 20:29:35.798127+00', 'patient', 13);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174014', '2026-11-30 20:29:35.864619+00', 'patient', 14);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174004', '2026-11-30 20:29:35.880508+00', 'patient', 15);
INSERT INTO public.audit_copy_patient VALUES ('223e4567-e89b-12d3-a456-426614174014', '2026-11-30 20:29:36.476751+00', 'billing', 14);
INSERT INTO public.audit_copy_patient VALUES ('123e4567-e89b-12d3-a456-426614174004', '2026-11-30 20:29:36.584755+00', 'billing', 15);
INSERT INTO public.audit_copy_patient VALUES ('01a22e26-15f7-75cc-8bd3-4a4eb3106326', '2026-11-30 20:29:37.684539+00', 'patient', 16);
INSERT INTO public.audit_copy_patient VALUES ('01a22e26-15f7-75cc-8bd3-4a4eb3106326', '2026-11-30 20:29:37.717248+00', 'billing', 16);
INSERT INTO public.audit_copy_patient VALUES ('01a22e26-15f7-75cc-8bd3-4a4eb3106326', '2026-11-30 20:29:38.030767+00', 'patient', 17);
INSERT INTO public.audit_copy_patient VALUES ('01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '2026-11-30 20:29:38.200771+00', 'billing', 17);
INSERT INTO public.audit_copy_patient VALUES ('01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '2026-11-30 20:29:38.175892+00', 'patient', 18);
INSERT INTO public.audit_copy_patient VALUES ('01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '2026-11-30 20:29:38.375703+00', 'patient', 19);
INSERT INTO public.kit_schema_history VALUES (1, 'kit', '2026-11-30T20:29:31.941815497Z', '3567147015999418136');
INSERT INTO public.kit_schema_history VALUES (2, 'dead_letter', '2026-11-30T20:29:32.015395925Z', '12305146646326787567');
INSERT INTO public.kit_schema_history VALUES (3, 'outbox_vacuum', '2026-11-30T20:29:32.052522396Z', '3887569686158578218');
INSERT INTO public.kit_schema_history VALUES (4, 'audit', '2026-11-30T20:29:32.092507039Z', '7286015825024414435');
INSERT INTO public.known_places VALUES ('\x150cf9bdab138a903d6196c00aea22c685c180cdc1b32e1c5ae0c654e835ee03', '01a22e26-0ae8-7434-9286-a85fa5b289c1', '2026-11-30 20:29:37.520796+00');
INSERT INTO public.refinery_schema_history VALUES (1, 'users', '2026-11-30T20:29:32.12145589Z', '1610188909893966453');
INSERT INTO public.refinery_schema_history VALUES (2, 'accounts', '2026-11-30T20:29:32.144978701Z', '6676539363657620044');
INSERT INTO public.refinery_schema_history VALUES (3, 'audit_copies', '2026-11-30T20:29:32.148924088Z', '15162879081747707709');
INSERT INTO public.refresh_tokens VALUES ('\x75ccb93707938a4228ae8f3666dadd438bef67707178e4dd867d287462a1f74d', '01a22e26-1570-734e-a1e1-c1855685152c', 0, '2026-12-30 20:29:37.520841+00');
INSERT INTO public.secret VALUES ('audit-key-id', '\xa270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
INSERT INTO public.secret VALUES ('cursor', '\x0f8f80d009960dc22d06c7f5e0089a2b14c52757bdfc62d4750cf2fe43ba5a95');
INSERT INTO public.sessions VALUES ('01a22e26-1570-734e-a1e1-c1855685152c', '01a22e26-0ae8-7434-9286-a85fa5b289c1', '2026-11-30 20:29:37.520796+00', '2026-12-30 20:29:37.520841+00');
INSERT INTO public.turn VALUES (1, 1);
INSERT INTO public.users VALUES ('01a22e26-0c71-731e-9500-50d830e34640', 'auditor@test.com', 'auditor@test.com', '$argon2id$v=19$m=19456,t=2,p=1$kztYUAgL9dlh6dQMZg+fcg$PnbXRczjg2Izem+8P0t48sggesyrshzE7OCJexWAkcE', 'AUDITOR', 0, '2026-11-30 20:29:35.217637+00', NULL);
INSERT INTO public.users VALUES ('01a22e26-0c41-7424-b2d6-31257c966bf2', 'billing@test.com', 'billing@test.com', '$argon2id$v=19$m=19456,t=2,p=1$dP5O5XzN5Vbo0MFwfBUyrA$3sbm98eaomyt233p88RVj7XiLFQB6r5BNDULMsC2g7g', 'BILLING', 0, '2026-11-30 20:29:35.169955+00', NULL);
INSERT INTO public.users VALUES ('01a22e26-0bac-7751-b4a3-2dcc11d681d6', 'clinician@test.com', 'clinician@test.com', '$argon2id$v=19$m=19456,t=2,p=1$6GxJoYRJGTurBJjymMuNQg$bLOGhYR06/tKd6gdJFzsfq7Ce9sGv/tCwsnS2UHnBig', 'CLINICIAN', 0, '2026-11-30 20:29:35.020506+00', NULL);
INSERT INTO public.users VALUES ('01a22e26-0c1d-7086-8460-de1c3c97dca0', 'receptionist@test.com', 'receptionist@test.com', '$argon2id$v=19$m=19456,t=2,p=1$qYVJ3Pz1gEvyW/BzAV3a/w$mN+wN/kjdQGdVxOrTnEPJ9DFhhiQfzMUXeR0apyk6cc', 'RECEPTIONIST', 0, '2026-11-30 20:29:35.133586+00', NULL);
INSERT INTO public.users VALUES ('01a22e26-0ae8-7434-9286-a85fa5b289c1', 'testuser@test.com', 'testuser@test.com', '$argon2id$v=19$m=19456,t=2,p=1$9E4T2DJ3SninNiCiYt4aUw$zA60zY9DvXls4/WD2PpDsKgVrGA2KT8xp/NiA++RQLU', 'ADMIN', 0, '2026-11-30 20:29:34.824618+00', '2026-11-30 20:29:37.520796+00');
INSERT INTO public.users VALUES ('01a22e26-1ad0-71d7-aebc-91023341cb5a', 'nurse@example.com', 'nurse@example.com', '$argon2id$v=19$m=19456,t=2,p=1$3dSgZDKAED/V3QX/z3j/OQ$qr0vBuFiJ/TOlv5A2iqZFmvSg4jA8e1JYn0PtUHS9V8', 'CLINICIAN', 0, '2026-11-30 20:29:38.896651+00', NULL);
SELECT pg_catalog.setval('public.dead_letter_id_seq', 1, false);
SELECT pg_catalog.setval('public.outbox_id_seq', 1, false);
SELECT pg_catalog.setval('public.revocations_id_seq', 1, false);
ALTER TABLE ONLY public.audit_copy_patient
    ADD CONSTRAINT audit_copy_patient_pkey PRIMARY KEY (patient, at, writer, seq);
ALTER TABLE ONLY public.audit_copy
    ADD CONSTRAINT audit_copy_pkey PRIMARY KEY (writer, seq);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.consumer_position
    ADD CONSTRAINT consumer_position_pkey PRIMARY KEY (consumer_group, topic, part);
ALTER TABLE ONLY public.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.kit_schema_history
    ADD CONSTRAINT kit_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.known_places
    ADD CONSTRAINT known_places_pkey PRIMARY KEY (place_hash);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.service_accounts
    ADD CONSTRAINT service_accounts_name_key UNIQUE (name_key);
ALTER TABLE ONLY public.service_accounts
    ADD CONSTRAINT service_accounts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.service_sessions
    ADD CONSTRAINT service_sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.turn
    ADD CONSTRAINT turn_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key UNIQUE (email_key);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
CREATE INDEX audit_copy_by_actor ON public.audit_copy USING btree (actor, at);
CREATE INDEX audit_copy_by_time ON public.audit_copy USING btree (at, writer, seq);
CREATE INDEX dead_letter_group ON public.dead_letter USING btree (consumer_group, id);
CREATE UNIQUE INDEX dead_letter_source ON public.dead_letter USING btree (consumer_group, topic, part, log_offset);
CREATE INDEX known_places_seen ON public.known_places USING btree (seen_at);
CREATE INDEX known_places_user ON public.known_places USING btree (user_id, seen_at);
CREATE INDEX refresh_tokens_expires ON public.refresh_tokens USING btree (expires_at);
CREATE INDEX refresh_tokens_session ON public.refresh_tokens USING btree (session_id);
CREATE INDEX revocations_until ON public.revocations USING btree (until_s);
CREATE INDEX service_accounts_created ON public.service_accounts USING btree (created_at, id);
CREATE INDEX service_accounts_expires ON public.service_accounts USING btree (expires_at);
CREATE INDEX service_sessions_account ON public.service_sessions USING btree (account_id);
CREATE INDEX service_sessions_expires ON public.service_sessions USING btree (expires_at);
CREATE INDEX sessions_expires ON public.sessions USING btree (expires_at);
CREATE INDEX sessions_user ON public.sessions USING btree (user_id);
CREATE INDEX users_created ON public.users USING btree (created_at, id);
ALTER TABLE ONLY public.known_places
    ADD CONSTRAINT known_places_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.service_sessions
    ADD CONSTRAINT service_sessions_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.service_accounts(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

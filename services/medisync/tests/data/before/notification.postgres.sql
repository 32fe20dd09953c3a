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
CREATE TABLE public.notification (
    seq bigint NOT NULL,
    id uuid NOT NULL,
    event_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    attempts bigint NOT NULL,
    next_attempt_at timestamp with time zone,
    event bytea,
    headers text,
    source_part bigint,
    source_offset bigint,
    CONSTRAINT notification_channel_check CHECK ((channel = ANY (ARRAY['file'::text, 'smtp'::text]))),
    CONSTRAINT notification_check CHECK (((status = 'PENDING'::text) = (event IS NOT NULL))),
    CONSTRAINT notification_check1 CHECK (((status = 'PENDING'::text) = (headers IS NOT NULL))),
    CONSTRAINT notification_check2 CHECK (((status = 'PENDING'::text) = (next_attempt_at IS NOT NULL))),
    CONSTRAINT notification_kind_check CHECK ((kind = ANY (ARRAY['WELCOME'::text, 'UPDATE'::text, 'FAREWELL'::text]))),
    CONSTRAINT notification_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'SENT'::text, 'FAILED'::text])))
);
ALTER TABLE public.notification ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.notification_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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
INSERT INTO public.consumer_position VALUES ('notification-service', 'patient', 0, 20);
INSERT INTO public.kit_schema_history VALUES (1, 'kit', '2026-11-30T20:29:33.115916978Z', '3567147015999418136');
INSERT INTO public.kit_schema_history VALUES (2, 'dead_letter', '2026-11-30T20:29:33.16850386Z', '12305146646326787567');
INSERT INTO public.kit_schema_history VALUES (3, 'outbox_vacuum', '2026-11-30T20:29:33.174570226Z', '3887569686158578218');
INSERT INTO public.kit_schema_history VALUES (4, 'audit', '2026-11-30T20:29:33.17651196Z', '7286015825024414435');
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (8, '01a22e26-10c6-7584-8e9d-fd16c4f62f4d', '01a22e26-0a94-731b-a9bd-a07888028f4e', '223e4567-e89b-12d3-a456-426614174009', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.326774+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 8);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (9, '01a22e26-1135-75ff-bcac-50e4ecdbc205', '01a22e26-0a94-731b-a9bd-a07674d449c1', '223e4567-e89b-12d3-a456-426614174007', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.437389+00', '2026-11-30 20:29:36.869623+00', 1, NULL, NULL, NULL, 0, 9);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (10, '01a22e26-113a-771a-a993-2d46a36e5a92', '01a22e26-0a94-731b-a9bd-a079cc09c61f', '223e4567-e89b-12d3-a456-426614174010', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.442902+00', '2026-11-30 20:29:36.869623+00', 1, NULL, NULL, NULL, 0, 10);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (11, '01a22e26-113f-74ce-88ba-41e7d8891231', '01a22e26-0a95-73ff-8680-a5c4b2108ff9', '223e4567-e89b-12d3-a456-426614174011', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.447019+00', '2026-11-30 20:29:36.869623+00', 1, NULL, NULL, NULL, 0, 11);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (12, '01a22e26-1144-706c-8129-997289fa5fc2', '01a22e26-0a95-73ff-8680-a5c5b0440421', '223e4567-e89b-12d3-a456-426614174012', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.452579+00', '2026-11-30 20:29:36.869623+00', 1, NULL, NULL, NULL, 0, 12);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (13, '01a22e26-1145-7776-9d71-929054f04dc2', '01a22e26-0a95-73ff-8680-a5c6870f2a9e', '223e4567-e89b-12d3-a456-426614174013', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.453538+00', '2026-11-30 20:29:36.869623+00', 1, NULL, NULL, NULL, 0, 13);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (17, '01a22e26-17ad-730a-9c06-753c74d2c652', '01a22e26-1702-74bb-bf43-eba103ea8b1c', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', 'UPDATE', 'file', 'SENT', '2026-11-30 20:29:38.093984+00', '2026-11-30 20:29:38.14723+00', 1, NULL, NULL, NULL, 0, 17);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (18, '01a22e26-1882-7487-bff3-9de49e292f8e', '01a22e26-17e2-76ef-8e8e-fcc11d9efc96', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:38.306152+00', '2026-11-30 20:29:38.353729+00', 1, NULL, NULL, NULL, 0, 18);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (19, '01a22e26-199e-70a2-94ec-d1b015c8b3d0', '01a22e26-189f-7374-ac96-d0e59f6a9394', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', 'FAREWELL', 'file', 'SENT', '2026-11-30 20:29:38.590533+00', '2026-11-30 20:29:38.760299+00', 1, NULL, NULL, NULL, 0, 19);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (1, '01a22e26-105a-7053-817b-1de40b9b7f97', '01a22e26-0a94-731b-a9bd-a06f24f5dd03', '123e4567-e89b-12d3-a456-426614174000', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.218783+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 1);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (2, '01a22e26-1090-7211-a9ce-833bad2a5acf', '01a22e26-0a94-731b-a9bd-a07158836dbd', '123e4567-e89b-12d3-a456-426614174002', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.272748+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 2);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (3, '01a22e26-1095-70a0-a5db-f9354083b0c4', '01a22e26-0a94-731b-a9bd-a0706779abd5', '123e4567-e89b-12d3-a456-426614174001', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.277143+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 3);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (4, '01a22e26-1096-710f-bc1e-37066d54c0e7', '01a22e26-0a94-731b-a9bd-a07252bfcb05', '123e4567-e89b-12d3-a456-426614174003', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.278538+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 4);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (5, '01a22e26-10a3-72b1-be93-d98bdcaf88db', '01a22e26-0a94-731b-a9bd-a074d32e0869', '223e4567-e89b-12d3-a456-426614174005', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.291293+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 5);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (6, '01a22e26-10bb-74e5-9851-7b4098c7370c', '01a22e26-0a94-731b-a9bd-a0779cdcdb13', '223e4567-e89b-12d3-a456-426614174008', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.315162+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 6);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (7, '01a22e26-10c1-7000-93b0-18928d9283be', '01a22e26-0a94-731b-a9bd-a0756db62c3b', '223e4567-e89b-12d3-a456-426614174006', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.321433+00', '2026-11-30 20:29:36.49978+00', 1, NULL, NULL, NULL, 0, 7);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (14, '01a22e26-11d4-7353-b546-48a72dcfccad', '01a22e26-0a95-73ff-8680-a5c7835c7c6f', '223e4567-e89b-12d3-a456-426614174014', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.59609+00', '2026-11-30 20:29:37.058259+00', 1, NULL, NULL, NULL, 0, 14);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (15, '01a22e26-125c-757e-a4dc-7d2c3756ec8e', '01a22e26-0a94-731b-a9bd-a073f7a36ea3', '123e4567-e89b-12d3-a456-426614174004', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:36.73257+00', '2026-11-30 20:29:37.058259+00', 1, NULL, NULL, NULL, 0, 15);
INSERT INTO public.notification OVERRIDING SYSTEM VALUE VALUES (16, '01a22e26-165f-769c-a891-ce7afed2aa9f', '01a22e26-15f7-75cc-8bd3-4a4f063820e6', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', 'WELCOME', 'file', 'SENT', '2026-11-30 20:29:37.759496+00', '2026-11-30 20:29:37.960334+00', 1, NULL, NULL, NULL, 0, 16);
INSERT INTO public.refinery_schema_history VALUES (1, 'notification', '2026-11-30T20:29:33.215658775Z', '2509860573016417457');
INSERT INTO public.secret VALUES ('cursor', '\xa182ed75b7c27608f9d027b5bd1af4138d446716e09b9e3719c0e44ec7e5f7da');
INSERT INTO public.secret VALUES ('audit-key-id', '\xa270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
SELECT pg_catalog.setval('public.dead_letter_id_seq', 1, false);
SELECT pg_catalog.setval('public.notification_seq_seq', 19, true);
SELECT pg_catalog.setval('public.outbox_id_seq', 1, false);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.consumer_position
    ADD CONSTRAINT consumer_position_pkey PRIMARY KEY (consumer_group, topic, part);
ALTER TABLE ONLY public.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.kit_schema_history
    ADD CONSTRAINT kit_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.notification
    ADD CONSTRAINT notification_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (name);
CREATE INDEX dead_letter_group ON public.dead_letter USING btree (consumer_group, id);
CREATE UNIQUE INDEX dead_letter_source ON public.dead_letter USING btree (consumer_group, topic, part, log_offset);
CREATE UNIQUE INDEX notification_event_id ON public.notification USING btree (event_id);
CREATE INDEX notification_patient_id_seq ON public.notification USING btree (patient_id, seq);
CREATE INDEX notification_pending ON public.notification USING btree (seq, next_attempt_at) WHERE (status = 'PENDING'::text);
CREATE INDEX notification_pending_of_patient ON public.notification USING btree (patient_id, seq) WHERE (status = 'PENDING'::text);

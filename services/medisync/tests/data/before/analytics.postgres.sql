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
CREATE TABLE public.birth_year_count (
    birth_year bigint NOT NULL,
    patients bigint NOT NULL,
    projection bigint NOT NULL
);
CREATE TABLE public.consumer_position (
    consumer_group text NOT NULL,
    topic text NOT NULL,
    part bigint NOT NULL,
    next_offset bigint NOT NULL
);
CREATE TABLE public.day_count (
    day date NOT NULL,
    created bigint NOT NULL,
    deleted bigint NOT NULL,
    projection bigint NOT NULL
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
CREATE TABLE public.event_count (
    created bigint NOT NULL,
    updated bigint NOT NULL,
    deleted bigint NOT NULL,
    projection bigint NOT NULL
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
CREATE TABLE public.patient (
    id uuid NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL,
    birth_year bigint,
    projection bigint NOT NULL,
    CONSTRAINT patient_check CHECK (((state = 'REGISTERED'::text) OR (birth_year IS NULL))),
    CONSTRAINT patient_state_check CHECK ((state = ANY (ARRAY['REGISTERED'::text, 'DELETED'::text])))
);
CREATE TABLE public.projection (
    id bigint NOT NULL,
    served bigint NOT NULL,
    CONSTRAINT projection_id_check CHECK ((id = 1))
);
CREATE TABLE public.refinery_schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);
CREATE TABLE public.replay (
    id bigint NOT NULL,
    last bigint NOT NULL,
    building bigint,
    lease_until timestamp with time zone,
    CONSTRAINT replay_id_check CHECK ((id = 1))
);
CREATE TABLE public.secret (
    name text NOT NULL,
    value bytea NOT NULL
);
INSERT INTO public.audit VALUES (1, '2026-11-30 20:29:39.273651+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'analytics.read', 'allowed', NULL, '', '127.0.0.1', 'c093626445f24caf835d06148a6ac443', '\xfd40665acc783b8982ac47d6afc516989f52a1e090a64c0b0335f0efbcfc995a');
INSERT INTO public.birth_year_count VALUES (1985, 1, 1);
INSERT INTO public.birth_year_count VALUES (1978, 1, 1);
INSERT INTO public.birth_year_count VALUES (1982, 1, 1);
INSERT INTO public.birth_year_count VALUES (1988, 1, 1);
INSERT INTO public.birth_year_count VALUES (1989, 1, 1);
INSERT INTO public.birth_year_count VALUES (1992, 1, 1);
INSERT INTO public.birth_year_count VALUES (1993, 1, 1);
INSERT INTO public.birth_year_count VALUES (1975, 1, 1);
INSERT INTO public.birth_year_count VALUES (1980, 1, 1);
INSERT INTO public.birth_year_count VALUES (1984, 1, 1);
INSERT INTO public.birth_year_count VALUES (1991, 1, 1);
INSERT INTO public.birth_year_count VALUES (1976, 1, 1);
INSERT INTO public.birth_year_count VALUES (1987, 1, 1);
INSERT INTO public.birth_year_count VALUES (1995, 1, 1);
INSERT INTO public.birth_year_count VALUES (1990, 2, 1);
INSERT INTO public.consumer_position VALUES ('analytics-service', 'patient', 0, 20);
INSERT INTO public.day_count VALUES ('2026-11-30', 17, 1, 1);
INSERT INTO public.event_count VALUES (17, 1, 1, 1);
INSERT INTO public.kit_schema_history VALUES (1, 'kit', '2026-11-30T20:29:32.895999779Z', '3567147015999418136');
INSERT INTO public.kit_schema_history VALUES (2, 'dead_letter', '2026-11-30T20:29:32.899162682Z', '12305146646326787567');
INSERT INTO public.kit_schema_history VALUES (3, 'outbox_vacuum', '2026-11-30T20:29:32.901131859Z', '3887569686158578218');
INSERT INTO public.kit_schema_history VALUES (4, 'audit', '2026-11-30T20:29:32.901773566Z', '7286015825024414435');
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174000', 1, 'REGISTERED', 1985, 1);
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174002', 1, 'REGISTERED', 1978, 1);
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174001', 1, 'REGISTERED', 1990, 1);
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174003', 1, 'REGISTERED', 1982, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174005', 1, 'REGISTERED', 1988, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174008', 1, 'REGISTERED', 1989, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174006', 1, 'REGISTERED', 1992, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174009', 1, 'REGISTERED', 1993, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174007', 1, 'REGISTERED', 1975, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174010', 1, 'REGISTERED', 1980, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174011', 1, 'REGISTERED', 1984, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174012', 1, 'REGISTERED', 1991, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174013', 1, 'REGISTERED', 1976, 1);
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174014', 1, 'REGISTERED', 1987, 1);
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174004', 1, 'REGISTERED', 1995, 1);
INSERT INTO public.patient VALUES ('01a22e26-15f7-75cc-8bd3-4a4eb3106326', 2, 'REGISTERED', 1990, 1);
INSERT INTO public.patient VALUES ('01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', 2, 'DELETED', NULL, 1);
INSERT INTO public.projection VALUES (1, 1);
INSERT INTO public.refinery_schema_history VALUES (1, 'analytics', '2026-11-30T20:29:32.905180054Z', '14109254839177442389');
INSERT INTO public.refinery_schema_history VALUES (2, 'projections', '2026-11-30T20:29:32.907986347Z', '13878965672546255020');
INSERT INTO public.replay VALUES (1, 1, NULL, NULL);
INSERT INTO public.secret VALUES ('audit-key-id', '\xa270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
SELECT pg_catalog.setval('public.dead_letter_id_seq', 1, false);
SELECT pg_catalog.setval('public.outbox_id_seq', 1, false);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.birth_year_count
    ADD CONSTRAINT birth_year_count_pkey PRIMARY KEY (projection, birth_year);
ALTER TABLE ONLY public.consumer_position
    ADD CONSTRAINT consumer_position_pkey PRIMARY KEY (consumer_group, topic, part);
ALTER TABLE ONLY public.day_count
    ADD CONSTRAINT day_count_pkey PRIMARY KEY (projection, day);
ALTER TABLE ONLY public.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.event_count
    ADD CONSTRAINT event_count_pkey PRIMARY KEY (projection);
ALTER TABLE ONLY public.kit_schema_history
    ADD CONSTRAINT kit_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.patient
    ADD CONSTRAINT patient_pkey PRIMARY KEY (projection, id);
ALTER TABLE ONLY public.projection
    ADD CONSTRAINT projection_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.replay
    ADD CONSTRAINT replay_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (name);
CREATE INDEX dead_letter_group ON public.dead_letter USING btree (consumer_group, id);
CREATE UNIQUE INDEX dead_letter_source ON public.dead_letter USING btree (consumer_group, topic, part, log_offset);

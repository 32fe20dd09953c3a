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
CREATE TABLE public.idempotency (
    caller text NOT NULL,
    request_key text NOT NULL,
    fingerprint bytea NOT NULL,
    patient_id uuid NOT NULL,
    answer text,
    finished bigint NOT NULL,
    created_at timestamp with time zone NOT NULL
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
    name text NOT NULL,
    name_key text NOT NULL COLLATE pg_catalog."C",
    email text NOT NULL,
    email_key text NOT NULL COLLATE pg_catalog."C",
    address text NOT NULL,
    date_of_birth date NOT NULL,
    registered_date date NOT NULL,
    version bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    billing_account uuid,
    grams text[] NOT NULL
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
INSERT INTO public.audit VALUES (1, '2026-11-30 20:29:35.024312+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174000', '123e4567-e89b-12d3-a456-426614174000', NULL, NULL, '\x47d0b67c9c717cb448e4a6e5c333ba21ce42b3fb410911d63a8aa3e43fe2546c');
INSERT INTO public.audit VALUES (2, '2026-11-30 20:29:35.096359+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174001', '123e4567-e89b-12d3-a456-426614174001', NULL, NULL, '\x0e8ff20da60de59f4c2f0a289dd5dffb9f76122701405ddedfe98f92e5c4ed94');
INSERT INTO public.audit VALUES (3, '2026-11-30 20:29:35.096478+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174002', '123e4567-e89b-12d3-a456-426614174002', NULL, NULL, '\x90b599e4675ad84c34c1e6af4157ffcdee1d087ca763c00f01ed7906e21fd91e');
INSERT INTO public.audit VALUES (4, '2026-11-30 20:29:35.133135+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174003', '123e4567-e89b-12d3-a456-426614174003', NULL, NULL, '\x6ccb7d697711947f6f8212be60aca777d5a8e48fe2949da82fb0774ea67e5b3b');
INSERT INTO public.audit VALUES (5, '2026-11-30 20:29:35.170078+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174005', '223e4567-e89b-12d3-a456-426614174005', NULL, NULL, '\x8bc44a0fd3df1e873b9aee9276f8725e1024181e0745893a69ab3b98e373f5b7');
INSERT INTO public.audit VALUES (6, '2026-11-30 20:29:35.209085+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174006', '223e4567-e89b-12d3-a456-426614174006', NULL, NULL, '\x1dfeb638553aa83e69f78730220689ff27a17a805384253f6030d5cab78a5e1f');
INSERT INTO public.audit VALUES (7, '2026-11-30 20:29:35.292638+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174009', '223e4567-e89b-12d3-a456-426614174009', NULL, NULL, '\x0318c2e4af6412ab69edf570020dfb84150b624515a94a616cf022d0ddff7bfb');
INSERT INTO public.audit VALUES (8, '2026-11-30 20:29:35.20913+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174008', '223e4567-e89b-12d3-a456-426614174008', NULL, NULL, '\x4ed85cb35729d3fc4059b0153f8b130dea3e67dc6c78023c897edca0675bc727');
INSERT INTO public.audit VALUES (9, '2026-11-30 20:29:35.209118+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174007', '223e4567-e89b-12d3-a456-426614174007', NULL, NULL, '\xf27f7a6cc5a1d49d735fda652e5a3132e5b58d833ff4dbc28df1db8dc55b0ee9');
INSERT INTO public.audit VALUES (10, '2026-11-30 20:29:35.449852+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174010', '223e4567-e89b-12d3-a456-426614174010', NULL, NULL, '\x08788cd8fd37ac0169a78bb567620f5ec0885de4167ae2c66782605fb08edffa');
INSERT INTO public.audit VALUES (11, '2026-11-30 20:29:35.571253+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174011', '223e4567-e89b-12d3-a456-426614174011', NULL, NULL, '\xca21354c94317820755ceb46cba26e4fcbc2c17902027637e471996e2f2d61c5');
INSERT INTO public.audit VALUES (12, '2026-11-30 20:29:35.736872+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174012', '223e4567-e89b-12d3-a456-426614174012', NULL, NULL, '\xa9e90959eeb3ace17fd27c880630a156d7132350f80c135918794b17f38b34b3');
INSERT INTO public.audit VALUES (13, '2026-11-30 20:29:35.798127+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174013', '223e4567-e89b-12d3-a456-426614174013', NULL, NULL, '\xdfb59569ca57efc91d9aae57caf3a98b11302532ac81dd207e86bf75104d92b8');
INSERT INTO public.audit VALUES (14, '2026-11-30 20:29:35.864619+00', 'system', NULL, 'patient.create', 'allowed', '223e4567-e89b-12d3-a456-426614174014', '223e4567-e89b-12d3-a456-426614174014', NULL, NULL, '\x2afd21801c04a62fa4976cb57a68e3abb61fe79c9d61f9c0fe0248f7999d51bb');
INSERT INTO public.audit VALUES (15, '2026-11-30 20:29:35.880508+00', 'system', NULL, 'patient.create', 'allowed', '123e4567-e89b-12d3-a456-426614174004', '123e4567-e89b-12d3-a456-426614174004', NULL, NULL, '\xa513fa5dd935c333ff3a5decdb94771a6e11769dafe4cea5dae4a812c70ba8bb');
INSERT INTO public.audit VALUES (16, '2026-11-30 20:29:37.684539+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.create', 'allowed', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '127.0.0.1', '306ebfa85a304f46bd365b08f55520cd', '\xc24d49c8030756eb817c2bb1dfddde124e0cbaa8235ce7c857f393df054d184a');
INSERT INTO public.audit VALUES (17, '2026-11-30 20:29:38.030767+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.update', 'allowed', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '01a22e26-15f7-75cc-8bd3-4a4eb3106326', '127.0.0.1', 'ffcbac7e4ef44dbeabb2a411089dc74a', '\x3d0eef386782d52675625b4690bfa1b35caea20ef2c267130eb163e8ff919af0');
INSERT INTO public.audit VALUES (18, '2026-11-30 20:29:38.175892+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.create', 'allowed', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '127.0.0.1', '93327b2bb13c409bb5da029dd8064a3b', '\x194b4a9087a0a2e031b78a564cea1900c9d71d3b46a0b74ae6b668539de0bcf1');
INSERT INTO public.audit VALUES (19, '2026-11-30 20:29:38.375703+00', '01a22e26-0ae8-7434-9286-a85fa5b289c1', 'ADMIN', 'patient.delete', 'allowed', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '01a22e26-17e2-76ef-8e8e-fcc0e9856c9c', '127.0.0.1', 'b25d4e30f6ac4ab296a1e9057519f0b2', '\x97a6015cb913861659ccd802ad6e96667249ebfb7fabd78892bb343bd1837c90');
INSERT INTO public.kit_schema_history VALUES (1, 'kit', '2026-11-30T20:29:32.657736147Z', '3567147015999418136');
INSERT INTO public.kit_schema_history VALUES (2, 'dead_letter', '2026-11-30T20:29:32.661586373Z', '12305146646326787567');
INSERT INTO public.kit_schema_history VALUES (3, 'outbox_vacuum', '2026-11-30T20:29:32.664747043Z', '3887569686158578218');
INSERT INTO public.kit_schema_history VALUES (4, 'audit', '2026-11-30T20:29:32.665553183Z', '7286015825024414435');
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174001', 'Jane Demo', 'jane demo', 'jane.demo@example.com', 'jane.demo@example.com', '456 Sample Ave, Springfield', '1990-09-23', '2024-01-12', 1, '2026-11-30 20:29:34.74071+00', '2026-11-30 20:29:34.74071+00', '01a22e26-0cdc-74aa-9da0-49a4a61979de', '{20,2064,206465,2e,2e63,2e636f,2e64,2e6465,40,4065,406578,61,616d,616d70,616e,616e65,63,636f,636f6d,64,6465,64656d,65,6520,652064,652e,652e63,652e64,656d,656d6f,6578,657861,6a,6a61,6a616e,6c,6c65,6c652e,6d,6d6f,6d6f40,6d70,6d706c,6e,6e65,6e6520,6e652e,6f,6f40,6f4065,6f6d,70,706c,706c65,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174005', 'Michael Specimen', 'michael specimen', 'michael.specimen@example.com', 'michael.specimen@example.com', '56 Dummy Dr, Springfield', '1988-07-25', '2024-03-20', 1, '2026-11-30 20:29:34.740849+00', '2026-11-30 20:29:34.740849+00', '01a22e26-0e3e-75de-9011-976608329e5e', '{20,2073,207370,2e,2e63,2e636f,2e73,2e7370,40,4065,406578,61,6165,61656c,616d,616d70,63,6368,636861,6369,63696d,636f,636f6d,65,652e,652e63,6563,656369,656c,656c20,656c2e,656e,656e40,6578,657861,68,6861,686165,69,6963,696368,696d,696d65,6c,6c20,6c2073,6c2e,6c2e73,6c65,6c652e,6d,6d65,6d656e,6d69,6d6963,6d70,6d706c,6e,6e40,6e4065,6f,6f6d,70,7065,706563,706c,706c65,73,7370,737065,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174007', 'David Mockup', 'david mockup', 'david.mockup@example.com', 'david.mockup@example.com', '90 Pilot Pl, Springfield', '1975-01-11', '2024-05-05', 1, '2026-11-30 20:29:34.74091+00', '2026-11-30 20:29:34.74091+00', '01a22e26-0fc2-74d5-bd88-2ed9104888d4', '{20,206d,206d6f,2e,2e63,2e636f,2e6d,2e6d6f,40,4065,406578,61,616d,616d70,6176,617669,63,636b,636b75,636f,636f6d,64,6420,64206d,642e,642e6d,6461,646176,65,652e,652e63,6578,657861,69,6964,696420,69642e,6b,6b75,6b7570,6c,6c65,6c652e,6d,6d6f,6d6f63,6d70,6d706c,6f,6f63,6f636b,6f6d,70,7040,704065,706c,706c65,75,7570,757040,76,7669,766964,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174010', 'Emma Illustration', 'emma illustration', 'emma.illustration@example.com', 'emma.illustration@example.com', '33 Figure Rd, Springfield', '1980-08-09', '2024-07-07', 1, '2026-11-30 20:29:34.740976+00', '2026-11-30 20:29:34.740976+00', '01a22e26-107a-7217-9ed0-3c8c5e9b864d', '{20,2069,20696c,2e,2e63,2e636f,2e69,2e696c,40,4065,406578,61,6120,612069,612e,612e69,616d,616d70,6174,617469,63,636f,636f6d,65,652e,652e63,656d,656d6d,6578,657861,69,696c,696c6c,696f,696f6e,6c,6c65,6c652e,6c6c,6c6c75,6c75,6c7573,6d,6d61,6d6120,6d612e,6d6d,6d6d61,6d70,6d706c,6e,6e40,6e4065,6f,6f6d,6f6e,6f6e40,70,706c,706c65,72,7261,726174,73,7374,737472,74,7469,74696f,7472,747261,75,7573,757374,78,7861,78616d}');
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174002', 'Alice Example', 'alice example', 'alice.example@example.com', 'alice.example@example.com', '789 Model Rd, Springfield', '1978-03-12', '2024-02-01', 1, '2026-11-30 20:29:34.740744+00', '2026-11-30 20:29:34.740744+00', '01a22e26-0d9b-7339-b0a2-ee5aece1f32e', '{20,2065,206578,2e,2e63,2e636f,2e65,2e6578,40,4065,406578,61,616c,616c69,616d,616d70,63,6365,636520,63652e,636f,636f6d,65,6520,652065,652e,652e63,652e65,6540,654065,6578,657861,69,6963,696365,6c,6c65,6c652e,6c6540,6c69,6c6963,6d,6d70,6d706c,6f,6f6d,70,706c,706c65,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174008', 'Laura Template', 'laura template', 'laura.template@example.com', 'laura.template@example.com', '11 Draft St, Springfield', '1989-09-02', '2024-05-28', 1, '2026-11-30 20:29:34.740932+00', '2026-11-30 20:29:34.740932+00', '01a22e26-0f55-703c-b870-722397cdd962', '{20,2074,207465,2e,2e63,2e636f,2e74,2e7465,40,4065,406578,61,6120,612074,612e,612e74,616d,616d70,6174,617465,6175,617572,63,636f,636f6d,65,652e,652e63,6540,654065,656d,656d70,6578,657861,6c,6c61,6c6174,6c6175,6c65,6c652e,6d,6d70,6d706c,6f,6f6d,70,706c,706c61,706c65,72,7261,726120,72612e,74,7465,746540,74656d,75,7572,757261,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174011', 'Ethan Instance', 'ethan instance', 'ethan.instance@example.com', 'ethan.instance@example.com', '44 Case Ln, Springfield', '1984-05-03', '2024-08-19', 1, '2026-11-30 20:29:34.74101+00', '2026-11-30 20:29:34.74101+00', '01a22e26-10c4-76d9-bee1-3d4ac4a5b840', '{20,2069,20696e,2e,2e63,2e636f,2e69,2e696e,40,4065,406578,61,616d,616d70,616e,616e20,616e2e,616e63,63,6365,636540,636f,636f6d,65,652e,652e63,6540,654065,6574,657468,6578,657861,68,6861,68616e,69,696e,696e73,6c,6c65,6c652e,6d,6d70,6d706c,6e,6e20,6e2069,6e2e,6e2e69,6e63,6e6365,6e73,6e7374,6f,6f6d,70,706c,706c65,73,7374,737461,74,7461,74616e,7468,746861,78,7861,78616d}');
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174000', 'John Doe', 'john doe', 'john.doe@example.com', 'john.doe@example.com', '123 Main St, Springfield', '1985-06-15', '2024-01-10', 1, '2026-11-30 20:29:34.740581+00', '2026-11-30 20:29:34.740581+00', '01a22e26-0cc8-7532-bbd6-9a7bda958a8f', '{20,2064,20646f,2e,2e63,2e636f,2e64,2e646f,40,4065,406578,61,616d,616d70,63,636f,636f6d,64,646f,646f65,65,652e,652e63,6540,654065,6578,657861,68,686e,686e20,686e2e,6a,6a6f,6a6f68,6c,6c65,6c652e,6d,6d70,6d706c,6e,6e20,6e2064,6e2e,6e2e64,6f,6f65,6f6540,6f68,6f686e,6f6d,70,706c,706c65,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174012', 'Sophia Showcase', 'sophia showcase', 'sophia.showcase@example.com', 'sophia.showcase@example.com', '55 Display Blvd, Springfield', '1991-12-25', '2024-09-09', 1, '2026-11-30 20:29:34.741032+00', '2026-11-30 20:29:34.741032+00', '01a22e26-10dd-72b8-a7da-47008d2633ad', '{20,2073,207368,2e,2e63,2e636f,2e73,2e7368,40,4065,406578,61,6120,612073,612e,612e73,616d,616d70,6173,617365,63,6361,636173,636f,636f6d,65,652e,652e63,6540,654065,6578,657861,68,6869,686961,686f,686f77,69,6961,696120,69612e,6c,6c65,6c652e,6d,6d70,6d706c,6f,6f6d,6f70,6f7068,6f77,6f7763,70,7068,706869,706c,706c65,73,7365,736540,7368,73686f,736f,736f70,77,7763,776361,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174013', 'Daniel Demonstration', 'daniel demonstration', 'daniel.demonstration@example.com', 'daniel.demonstration@example.com', '66 Exhibit Dr, Springfield', '1976-06-08', '2024-10-30', 1, '2026-11-30 20:29:34.741057+00', '2026-11-30 20:29:34.741057+00', '01a22e26-10ed-7104-ada8-526f232f6e73', '{20,2064,206465,2e,2e63,2e636f,2e64,2e6465,40,4065,406578,61,616d,616d70,616e,616e69,6174,617469,63,636f,636f6d,64,6461,64616e,6465,64656d,65,652e,652e63,656c,656c20,656c2e,656d,656d6f,6578,657861,69,6965,69656c,696f,696f6e,6c,6c20,6c2064,6c2e,6c2e64,6c65,6c652e,6d,6d6f,6d6f6e,6d70,6d706c,6e,6e40,6e4065,6e69,6e6965,6e73,6e7374,6f,6f6d,6f6e,6f6e40,6f6e73,70,706c,706c65,72,7261,726174,73,7374,737472,74,7469,74696f,7472,747261,78,7861,78616d}');
INSERT INTO public.patient VALUES ('01a22e26-15f7-75cc-8bd3-4a4eb3106326', 'Ada Kept', 'ada kept', 'kept@example.com', 'kept@example.com', '1 Test Street', '1990-02-28', '2026-11-30', 2, '2026-11-30 20:29:37.655864+00', '2026-11-30 20:29:37.922048+00', '01a22e26-1629-7127-bd9e-ac424ea57414', '{20,206b,206b65,2e,2e63,2e636f,40,4065,406578,61,6120,61206b,6164,616461,616d,616d70,63,636f,636f6d,64,6461,646120,65,652e,652e63,6570,657074,6578,657861,6b,6b65,6b6570,6c,6c65,6c652e,6d,6d70,6d706c,6f,6f6d,70,706c,706c65,7074,707440,74,7440,744065,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174014', 'Isabella Imaginary', 'isabella imaginary', 'isabella.imaginary@example.com', 'isabella.imaginary@example.com', '77 Dream Ct, Springfield', '1987-10-17', '2024-11-21', 1, '2026-11-30 20:29:34.741085+00', '2026-11-30 20:29:34.741085+00', '01a22e26-113a-771a-a993-2d45e9ab2b5b', '{20,2069,20696d,2e,2e63,2e636f,2e69,2e696d,40,4065,406578,61,6120,612069,612e,612e69,6162,616265,6167,616769,616d,616d70,6172,617279,62,6265,62656c,63,636f,636f6d,65,652e,652e63,656c,656c6c,6578,657861,67,6769,67696e,69,696d,696d61,696e,696e61,6973,697361,6c,6c61,6c6120,6c612e,6c65,6c652e,6c6c,6c6c61,6d,6d61,6d6167,6d70,6d706c,6e,6e61,6e6172,6f,6f6d,70,706c,706c65,72,7279,727940,73,7361,736162,78,7861,78616d,79,7940,794065}');
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174004', 'Emily Fictional', 'emily fictional', 'emily.fictional@example.com', 'emily.fictional@example.com', '34 Mock Blvd, Springfield', '1995-02-05', '2024-03-03', 1, '2026-11-30 20:29:34.740809+00', '2026-11-30 20:29:34.740809+00', '01a22e26-11b5-70f2-9922-1f12e85924b7', '{20,2066,206669,2e,2e63,2e636f,2e66,2e6669,40,4065,406578,61,616c,616c40,616d,616d70,63,636f,636f6d,6374,637469,65,652e,652e63,656d,656d69,6578,657861,66,6669,666963,69,6963,696374,696c,696c79,696f,696f6e,6c,6c40,6c4065,6c65,6c652e,6c79,6c7920,6c792e,6d,6d69,6d696c,6d70,6d706c,6e,6e61,6e616c,6f,6f6d,6f6e,6f6e61,70,706c,706c65,74,7469,74696f,78,7861,78616d,79,7920,792066,792e,792e66}');
INSERT INTO public.patient VALUES ('123e4567-e89b-12d3-a456-426614174003', 'Bob Placeholder', 'bob placeholder', 'bob.placeholder@example.com', 'bob.placeholder@example.com', '12 Test Ln, Springfield', '1982-11-30', '2024-02-14', 1, '2026-11-30 20:29:34.740772+00', '2026-11-30 20:29:34.740772+00', '01a22e26-0dd7-7533-bf80-d6bb2e4ba016', '{20,2070,20706c,2e,2e63,2e636f,2e70,2e706c,40,4065,406578,61,6163,616365,616d,616d70,62,6220,622070,622e,622e70,626f,626f62,63,6365,636568,636f,636f6d,64,6465,646572,65,652e,652e63,6568,65686f,6572,657240,6578,657861,68,686f,686f6c,6c,6c61,6c6163,6c64,6c6465,6c65,6c652e,6d,6d70,6d706c,6f,6f62,6f6220,6f622e,6f6c,6f6c64,6f6d,70,706c,706c61,706c65,72,7240,724065,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174006', 'Sarah Sample', 'sarah sample', 'sarah.sample@example.com', 'sarah.sample@example.com', '78 Trial Ct, Springfield', '1992-04-18', '2024-04-11', 1, '2026-11-30 20:29:34.740886+00', '2026-11-30 20:29:34.740886+00', '01a22e26-0eab-743d-a536-dcfbac21e786', '{20,2073,207361,2e,2e63,2e636f,2e73,2e7361,40,4065,406578,61,6168,616820,61682e,616d,616d70,6172,617261,63,636f,636f6d,65,652e,652e63,6540,654065,6578,657861,68,6820,682073,682e,682e73,6c,6c65,6c652e,6c6540,6d,6d70,6d706c,6f,6f6d,70,706c,706c65,72,7261,726168,73,7361,73616d,736172,78,7861,78616d}');
INSERT INTO public.patient VALUES ('223e4567-e89b-12d3-a456-426614174009', 'James Prototype', 'james prototype', 'james.prototype@example.com', 'james.prototype@example.com', '22 Proof Ave, Springfield', '1993-11-15', '2024-06-17', 1, '2026-11-30 20:29:34.740954+00', '2026-11-30 20:29:34.740954+00', '01a22e26-0ec7-70c5-ac59-e4041f7fbd54', '{20,2070,207072,2e,2e63,2e636f,2e70,2e7072,40,4065,406578,61,616d,616d65,616d70,63,636f,636f6d,65,652e,652e63,6540,654065,6573,657320,65732e,6578,657861,6a,6a61,6a616d,6c,6c65,6c652e,6d,6d65,6d6573,6d70,6d706c,6f,6f6d,6f74,6f746f,6f7479,70,7065,706540,706c,706c65,7072,70726f,72,726f,726f74,73,7320,732070,732e,732e70,74,746f,746f74,7479,747970,78,7861,78616d,79,7970,797065}');
INSERT INTO public.refinery_schema_history VALUES (1, 'patients', '2026-11-30T20:29:32.670262164Z', '1731950708493378437');
INSERT INTO public.secret VALUES ('cursor', '\xf994c55ca5462912025649326fd712afc3e55c4944c7f40e2699614e4a5f9ef8');
INSERT INTO public.secret VALUES ('audit-key-id', '\xa270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
SELECT pg_catalog.setval('public.dead_letter_id_seq', 1, false);
SELECT pg_catalog.setval('public.outbox_id_seq', 19, true);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.consumer_position
    ADD CONSTRAINT consumer_position_pkey PRIMARY KEY (consumer_group, topic, part);
ALTER TABLE ONLY public.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_caller_request_key PRIMARY KEY (caller, request_key);
ALTER TABLE ONLY public.kit_schema_history
    ADD CONSTRAINT kit_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.patient
    ADD CONSTRAINT patient_email_key UNIQUE (email_key);
ALTER TABLE ONLY public.patient
    ADD CONSTRAINT patient_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refinery_schema_history
    ADD CONSTRAINT refinery_schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (name);
CREATE INDEX dead_letter_group ON public.dead_letter USING btree (consumer_group, id);
CREATE UNIQUE INDEX dead_letter_source ON public.dead_letter USING btree (consumer_group, topic, part, log_offset);
CREATE INDEX idempotency_by_created_at ON public.idempotency USING btree (created_at);
CREATE INDEX idempotency_by_patient ON public.idempotency USING btree (patient_id);
CREATE INDEX patient_by_created_at ON public.patient USING btree (created_at, id);
CREATE INDEX patient_by_gram ON public.patient USING gin (grams);
CREATE INDEX patient_by_name ON public.patient USING btree (name_key, id);
CREATE INDEX patient_by_registered_date ON public.patient USING btree (registered_date, id);
CREATE INDEX patient_without_account ON public.patient USING btree (created_at, id) WHERE (billing_account IS NULL);

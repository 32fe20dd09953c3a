PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE kit_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO kit_schema_history VALUES(1,'kit','2026-11-30T20:29:21.406691958Z','15696404423496024819');
INSERT INTO kit_schema_history VALUES(2,'dead_letter','2026-11-30T20:29:21.406708018Z','5498843355772617483');
INSERT INTO kit_schema_history VALUES(3,'audit','2026-11-30T20:29:21.406711549Z','17127275712980714198');
CREATE TABLE outbox (
    id          integer primary key autoincrement,
    topic       text    not null,
    record_key  text    not null,
    headers     text    not null, -- JSON: [[name, value], …]
    payload     blob    not null,
    created_at  integer not null
) strict;
CREATE TABLE consumer_position (
    consumer_group text    not null,
    topic          text    not null,
    part           integer not null,
    next_offset    integer not null,
    primary key (consumer_group, topic, part)
) strict;
INSERT INTO consumer_position VALUES('analytics-service','patient',0,20);
CREATE TABLE secret (
    name  text primary key,
    value blob not null
) strict;
INSERT INTO secret VALUES('audit-key-id',X'a270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
CREATE TABLE dead_letter (
    id             integer primary key autoincrement,
    consumer_group text    not null,
    topic          text    not null,
    part           integer not null,
    log_offset     integer not null,
    event_id       text    not null,
    event_type     text    not null,
    error          text    not null, -- names no person
    died_at        integer not null
) strict;
CREATE TABLE audit (
    seq      integer primary key, -- 1, 2, 3, … without a gap
    at       integer not null,
    actor    text    not null,
    role     text,
    action   text    not null,
    outcome  text    not null,
    record   text,
    patients text    not null, -- ids, with a blank between them
    source   text,
    trace    text,
    link     blob    not null
) strict;
INSERT INTO audit VALUES(1,1796070565652687,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','analytics.read','allowed',NULL,'','127.0.0.1','a7d62c2e9ecd4fd4a96e13ec1b563fe8',X'f63baeeaf5b4af6dbd9d57e4061ad8c7f2a0573691c6014ecb686fe983f8c012');
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'analytics','2026-11-30T20:29:21.411074844Z','2539845082295005548');
INSERT INTO refinery_schema_history VALUES(2,'projections','2026-11-30T20:29:21.411089688Z','8988872436965900104');
CREATE TABLE projection (
    id     integer primary key check (id = 1),
    served integer not null
) strict;
INSERT INTO projection VALUES(1,1);
CREATE TABLE replay (
    id          integer primary key check (id = 1),
    last        integer not null, -- the highest number that was given to a projection
    building    integer,
    lease_until integer
) strict;
INSERT INTO replay VALUES(1,1,NULL,NULL);
CREATE TABLE IF NOT EXISTS "patient" (
    projection integer not null,
    id         text    not null,
    version    integer not null,
    state      text    not null check (state in ('REGISTERED', 'DELETED')),
    birth_year integer,
    primary key (projection, id),
    check (state = 'REGISTERED' or birth_year is null)
) strict;
INSERT INTO patient VALUES(1,'123e4567-e89b-12d3-a456-426614174000',1,'REGISTERED',1985);
INSERT INTO patient VALUES(1,'123e4567-e89b-12d3-a456-426614174001',1,'REGISTERED',1990);
INSERT INTO patient VALUES(1,'123e4567-e89b-12d3-a456-426614174002',1,'REGISTERED',1978);
INSERT INTO patient VALUES(1,'123e4567-e89b-12d3-a456-426614174003',1,'REGISTERED',1982);
INSERT INTO patient VALUES(1,'123e4567-e89b-12d3-a456-426614174004',1,'REGISTERED',1995);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174005',1,'REGISTERED',1988);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174006',1,'REGISTERED',1992);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174007',1,'REGISTERED',1975);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174008',1,'REGISTERED',1989);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174009',1,'REGISTERED',1993);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174010',1,'REGISTERED',1980);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174011',1,'REGISTERED',1984);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174012',1,'REGISTERED',1991);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174013',1,'REGISTERED',1976);
INSERT INTO patient VALUES(1,'223e4567-e89b-12d3-a456-426614174014',1,'REGISTERED',1987);
INSERT INTO patient VALUES(1,'01a22e25-e1de-7040-b79b-bf52f05229ff',2,'REGISTERED',1990);
INSERT INTO patient VALUES(1,'01a22e25-e41e-739d-a733-9129906d7236',2,'DELETED',NULL);
CREATE TABLE IF NOT EXISTS "birth_year_count" (
    projection integer not null,
    birth_year integer not null,
    patients   integer not null,
    primary key (projection, birth_year)
) strict;
INSERT INTO birth_year_count VALUES(1,1985,1);
INSERT INTO birth_year_count VALUES(1,1990,2);
INSERT INTO birth_year_count VALUES(1,1978,1);
INSERT INTO birth_year_count VALUES(1,1982,1);
INSERT INTO birth_year_count VALUES(1,1995,1);
INSERT INTO birth_year_count VALUES(1,1988,1);
INSERT INTO birth_year_count VALUES(1,1992,1);
INSERT INTO birth_year_count VALUES(1,1975,1);
INSERT INTO birth_year_count VALUES(1,1989,1);
INSERT INTO birth_year_count VALUES(1,1993,1);
INSERT INTO birth_year_count VALUES(1,1980,1);
INSERT INTO birth_year_count VALUES(1,1984,1);
INSERT INTO birth_year_count VALUES(1,1991,1);
INSERT INTO birth_year_count VALUES(1,1976,1);
INSERT INTO birth_year_count VALUES(1,1987,1);
CREATE TABLE IF NOT EXISTS "day_count" (
    projection integer not null,
    day        text    not null,
    created    integer not null,
    deleted    integer not null,
    primary key (projection, day)
) strict;
INSERT INTO day_count VALUES(1,'2026-11-30',17,1);
CREATE TABLE IF NOT EXISTS "event_count" (
    projection integer primary key,
    created    integer not null,
    updated    integer not null,
    deleted    integer not null
) strict;
INSERT INTO event_count VALUES(1,17,1,1);
DELETE FROM sqlite_sequence;
CREATE UNIQUE INDEX dead_letter_source on dead_letter (consumer_group, topic, part, log_offset);
CREATE INDEX dead_letter_group on dead_letter (consumer_group, id);
CREATE TRIGGER audit_keeps_what_it_has before update on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE TRIGGER audit_keeps_all_it_has before delete on audit
begin select raise(abort, 'the audit trail only grows'); end;
COMMIT;

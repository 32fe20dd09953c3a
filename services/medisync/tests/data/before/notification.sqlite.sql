PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE kit_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO kit_schema_history VALUES(1,'kit','2026-11-30T20:29:21.44849541Z','15696404423496024819');
INSERT INTO kit_schema_history VALUES(2,'dead_letter','2026-11-30T20:29:21.448516579Z','5498843355772617483');
INSERT INTO kit_schema_history VALUES(3,'audit','2026-11-30T20:29:21.448520819Z','17127275712980714198');
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
INSERT INTO consumer_position VALUES('notification-service','patient',0,20);
CREATE TABLE secret (
    name  text primary key,
    value blob not null
) strict;
INSERT INTO secret VALUES('cursor',X'd3fa2fb2a77dfd95f83279ac994e73f2626d7fe4f7a6308a5e5993cc7406dfb8');
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
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'notification','2026-11-30T20:29:21.473407394Z','1574499351631511730');
CREATE TABLE notification (
    seq             integer primary key autoincrement, -- the order in which they came and are sent
    id              text    not null,
    event_id        text    not null,
    patient_id      text    not null,
    kind            text    not null check (kind in ('WELCOME', 'UPDATE', 'FAREWELL')),
    channel         text    not null check (channel in ('file', 'smtp')),
    status          text    not null check (status in ('PENDING', 'SENT', 'FAILED')),
    created_at      integer not null,
    sent_at         integer,
    attempts        integer not null,
    next_attempt_at integer, -- while pending: not tried before
    event           blob,    -- while pending: the event's value, which names the recipient
    headers         text,    -- while pending: its headers. JSON: [[name, value], …]
    source_part     integer, -- where the event was read from: its partition
    source_offset   integer, -- and its offset there
    -- Personal data stays no longer than it is needed.
    check ((status = 'PENDING') = (event is not null)),
    check ((status = 'PENDING') = (headers is not null)),
    check ((status = 'PENDING') = (next_attempt_at is not null))
) strict;
INSERT INTO notification VALUES(1,'01a22e25-da38-725f-8a35-7b68739f43c0','01a22e25-d879-7615-8340-7dffbddb0008','123e4567-e89b-12d3-a456-426614174000','WELCOME','file','SENT',1796070562360521,1796070563068961,1,NULL,NULL,NULL,0,1);
INSERT INTO notification VALUES(2,'01a22e25-da38-725f-8a35-7b6996db14cc','01a22e25-d879-7615-8340-7e00cb26d847','123e4567-e89b-12d3-a456-426614174001','WELCOME','file','SENT',1796070562360681,1796070563068961,1,NULL,NULL,NULL,0,2);
INSERT INTO notification VALUES(3,'01a22e25-da38-725f-8a35-7b6a0fe408e4','01a22e25-d879-7615-8340-7e01cd6b4f66','123e4567-e89b-12d3-a456-426614174002','WELCOME','file','SENT',1796070562360716,1796070563068961,1,NULL,NULL,NULL,0,3);
INSERT INTO notification VALUES(4,'01a22e25-da38-725f-8a35-7b6bb704ed49','01a22e25-d879-7615-8340-7e02e9dffec1','123e4567-e89b-12d3-a456-426614174003','WELCOME','file','SENT',1796070562360747,1796070563068961,1,NULL,NULL,NULL,0,4);
INSERT INTO notification VALUES(5,'01a22e25-da38-725f-8a35-7b6cd0c5d88c','01a22e25-d879-7615-8340-7e03078d22ae','123e4567-e89b-12d3-a456-426614174004','WELCOME','file','SENT',1796070562360774,1796070563068961,1,NULL,NULL,NULL,0,5);
INSERT INTO notification VALUES(6,'01a22e25-da38-725f-8a35-7b6da6814fd2','01a22e25-d879-7615-8340-7e04d8eca2c5','223e4567-e89b-12d3-a456-426614174005','WELCOME','file','SENT',1796070562360799,1796070563068961,1,NULL,NULL,NULL,0,6);
INSERT INTO notification VALUES(7,'01a22e25-da38-725f-8a35-7b6e1d31bf96','01a22e25-d879-7615-8340-7e05ef31f9b0','223e4567-e89b-12d3-a456-426614174006','WELCOME','file','SENT',1796070562360824,1796070563068961,1,NULL,NULL,NULL,0,7);
INSERT INTO notification VALUES(8,'01a22e25-da38-725f-8a35-7b6fed314d59','01a22e25-d879-7615-8340-7e06e714ffc4','223e4567-e89b-12d3-a456-426614174007','WELCOME','file','SENT',1796070562360849,1796070563068961,1,NULL,NULL,NULL,0,8);
INSERT INTO notification VALUES(9,'01a22e25-da38-725f-8a35-7b7021ed8439','01a22e25-d879-7615-8340-7e07a32daa24','223e4567-e89b-12d3-a456-426614174008','WELCOME','file','SENT',1796070562360882,1796070563068961,1,NULL,NULL,NULL,0,9);
INSERT INTO notification VALUES(10,'01a22e25-da38-725f-8a35-7b71e69360a6','01a22e25-d879-7615-8340-7e0813c42dd9','223e4567-e89b-12d3-a456-426614174009','WELCOME','file','SENT',1796070562360908,1796070563068961,1,NULL,NULL,NULL,0,10);
INSERT INTO notification VALUES(11,'01a22e25-da38-725f-8a35-7b72eee013a6','01a22e25-d879-7615-8340-7e09ecd8abc4','223e4567-e89b-12d3-a456-426614174010','WELCOME','file','SENT',1796070562360933,1796070563068961,1,NULL,NULL,NULL,0,11);
INSERT INTO notification VALUES(12,'01a22e25-da38-725f-8a35-7b7353c1057a','01a22e25-d879-7615-8340-7e0a3515b385','223e4567-e89b-12d3-a456-426614174011','WELCOME','file','SENT',1796070562360959,1796070563068961,1,NULL,NULL,NULL,0,12);
INSERT INTO notification VALUES(13,'01a22e25-da38-725f-8a35-7b74fc0e0f01','01a22e25-d879-7615-8340-7e0b58502c74','223e4567-e89b-12d3-a456-426614174012','WELCOME','file','SENT',1796070562360984,1796070563068961,1,NULL,NULL,NULL,0,13);
INSERT INTO notification VALUES(14,'01a22e25-da39-711b-a66d-a9575a71bea2','01a22e25-d879-7615-8340-7e0c8d049257','223e4567-e89b-12d3-a456-426614174013','WELCOME','file','SENT',1796070562361008,1796070563068961,1,NULL,NULL,NULL,0,14);
INSERT INTO notification VALUES(15,'01a22e25-da39-711b-a66d-a958de23709f','01a22e25-d879-7615-8340-7e0d1d59beff','223e4567-e89b-12d3-a456-426614174014','WELCOME','file','SENT',1796070562361033,1796070563068961,1,NULL,NULL,NULL,0,15);
INSERT INTO notification VALUES(16,'01a22e25-e205-75aa-a1b6-4beff802c21d','01a22e25-e1de-7040-b79b-bf539ce5adda','01a22e25-e1de-7040-b79b-bf52f05229ff','WELCOME','file','SENT',1796070564357937,1796070564454594,1,NULL,NULL,NULL,0,16);
INSERT INTO notification VALUES(17,'01a22e25-e35c-74db-b8b3-e853d3c2a75f','01a22e25-e2af-72b1-922c-42dd1b3d5ce8','01a22e25-e1de-7040-b79b-bf52f05229ff','UPDATE','file','SENT',1796070564700924,1796070564844386,1,NULL,NULL,NULL,0,17);
INSERT INTO notification VALUES(18,'01a22e25-e49d-7446-8419-64dda6447d71','01a22e25-e41e-739d-a733-912a989aea52','01a22e25-e41e-739d-a733-9129906d7236','WELCOME','file','SENT',1796070565022027,1796070565162308,1,NULL,NULL,NULL,0,18);
INSERT INTO notification VALUES(19,'01a22e25-e576-747e-8438-4fd58b9399d4','01a22e25-e523-726e-a2bc-bd3554c5d88c','01a22e25-e41e-739d-a733-9129906d7236','FAREWELL','file','SENT',1796070565238230,1796070565428390,1,NULL,NULL,NULL,0,19);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('notification',19);
CREATE UNIQUE INDEX dead_letter_source on dead_letter (consumer_group, topic, part, log_offset);
CREATE INDEX dead_letter_group on dead_letter (consumer_group, id);
CREATE TRIGGER audit_keeps_what_it_has before update on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE TRIGGER audit_keeps_all_it_has before delete on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE UNIQUE INDEX notification_event_id on notification (event_id);
CREATE INDEX notification_patient_id_seq on notification (patient_id, seq);
CREATE INDEX notification_pending on notification (seq, next_attempt_at)
    where status = 'PENDING';
CREATE INDEX notification_pending_of_patient on notification (patient_id, seq)
    where status = 'PENDING';
COMMIT;

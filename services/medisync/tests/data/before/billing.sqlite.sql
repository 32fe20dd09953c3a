PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE kit_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO kit_schema_history VALUES(1,'kit','2026-11-30T20:29:21.308374738Z','15696404423496024819');
INSERT INTO kit_schema_history VALUES(2,'dead_letter','2026-11-30T20:29:21.308404921Z','5498843355772617483');
INSERT INTO kit_schema_history VALUES(3,'audit','2026-11-30T20:29:21.308409033Z','17127275712980714198');
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
CREATE TABLE secret (
    name  text primary key,
    value blob not null
) strict;
INSERT INTO secret VALUES('cursor',X'12bc7d842691f504aa2f7cf1b9eab2a1768fba20f0ea3edffa89ea5cbf656055');
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
INSERT INTO audit VALUES(1,1796070562376453,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-da45-74de-9d3f-95f945c870b1','223e4567-e89b-12d3-a456-426614174014','127.0.0.1','0a9b267097824edf9512a80d1dc1e585',X'fac03af5eb438bdab650a25103ec9ed85489a51952d608d85410408ece88babf');
INSERT INTO audit VALUES(2,1796070562401153,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-da60-759f-8b14-0ab98541f3de','123e4567-e89b-12d3-a456-426614174000','127.0.0.1','47e38cdd5c9548eab3b2de3f7e87d058',X'c974d126b8be6b5b77d1e4e9028bf1424cb8f65cd95370cb0bb3f50f297564ab');
INSERT INTO audit VALUES(3,1796070562473291,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daa8-7722-a20d-ec107e1f116c','123e4567-e89b-12d3-a456-426614174001','127.0.0.1','0270ecfc045941d89f292177eb10ce6a',X'e1312a7dcfb9b661b3de7860d20883d2b4e820119d29c8ec049eac505836e418');
INSERT INTO audit VALUES(4,1796070562476332,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daa9-7782-bb1e-745dfa7b2cfe','123e4567-e89b-12d3-a456-426614174002','127.0.0.1','eb628baabe9945eaa58fa5543f669441',X'd32b1a83f6962d13b47d738950691ad8c91ab4ba38078d26430fb574cfed3058');
INSERT INTO audit VALUES(5,1796070562476455,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daaa-77bc-bf78-1cc23153a525','123e4567-e89b-12d3-a456-426614174003','127.0.0.1','44e21357a2ed47b3b13ccf87d807b486',X'0668372c0f374176750042fac61b416751e040689625295a3bd0a0c5cd9d8f0a');
INSERT INTO audit VALUES(6,1796070562476513,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daab-77ab-adfa-8a152cfa62db','123e4567-e89b-12d3-a456-426614174004','127.0.0.1','df5fe688216d4860bcb935fa5198040a',X'5e80d295254ac0fb976cde99af3a9512691a0ff838bade74e8b07cb9b974eb46');
INSERT INTO audit VALUES(7,1796070562752472,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db4b-724f-9f5b-eddc0c7c5440','223e4567-e89b-12d3-a456-426614174005','127.0.0.1','9e8d73ec9dd84239ada1593c5f694f13',X'c2ab3d7aa126a115f539786172d3a1118d6cbf9a7e27c62cd9821033fd202eb6');
INSERT INTO audit VALUES(8,1796070562752755,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db55-751a-9c87-ed968de279c0','223e4567-e89b-12d3-a456-426614174006','127.0.0.1','999a9c923564459b9decad4cd4185875',X'aa38b7355b0c9c94eb8445011e0a8c6746a1a9a8aa884d353a8928fc7843b2cc');
INSERT INTO audit VALUES(9,1796070562752872,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7e-73a2-ba1b-198302122d2c','223e4567-e89b-12d3-a456-426614174010','127.0.0.1','a1027e4f133a4bc5a69d36aab35954e2',X'c0ba7336fe455dd62502ed3fcadbca56bbf34c746937bf62f1599c619f38e087');
INSERT INTO audit VALUES(10,1796070562752981,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7e-73a2-ba1b-198438ee1261','223e4567-e89b-12d3-a456-426614174007','127.0.0.1','367c11ba99a04af79c2d713f30fb0593',X'1ca25fc01f9873c6ecd642adc9b7a88d552959e655661b37440363e08e7cc8bb');
INSERT INTO audit VALUES(11,1796070562753082,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7e-73a2-ba1b-198594b878b4','223e4567-e89b-12d3-a456-426614174008','127.0.0.1','05a2f41116654e2dafbb48e66953eb5c',X'51708000a2a374727a156f20a4f7c0ecb43018771318691a19cefc40abf13a38');
INSERT INTO audit VALUES(12,1796070562753182,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7f-733e-9474-2c8d6ce3d6e1','223e4567-e89b-12d3-a456-426614174009','127.0.0.1','ae1be81fb2d648278fcfc039657da434',X'6a4d50141847e4b40c720ef3e159e1f1aee663876ee08c0dcfb43f7386cad6d7');
INSERT INTO audit VALUES(13,1796070562753275,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7f-733e-9474-2c8ecf8f5245','223e4567-e89b-12d3-a456-426614174012','127.0.0.1','c3f22f4f4ec34653936221ab62faded1',X'6227f1b1d610f6eb3a40600341538c98dc86a4d7bf526cdb17a35176ead5d2e0');
INSERT INTO audit VALUES(14,1796070562753368,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db9f-77ed-819d-35ed5fe9e8fc','223e4567-e89b-12d3-a456-426614174013','127.0.0.1','4671da6408e14ecf83c91c0541932856',X'f170ef13ef1ede44d2273bdc30a5f6177e092af9f9a903869bd89ca19afed758');
INSERT INTO audit VALUES(15,1796070562895565,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-dbd8-7380-9f31-22b7b3820151','223e4567-e89b-12d3-a456-426614174011','127.0.0.1','9dae63ba905541cf95a55c0a91c53f49',X'90ec655c52578de9e313aa5544bceb7ea37d322ba03bd37a1e824fb2ec984d64');
INSERT INTO audit VALUES(16,1796070564352345,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-e1fc-701b-8f62-4e149e084b03','01a22e25-e1de-7040-b79b-bf52f05229ff','127.0.0.1','979b1e020d714faa9cde8bdbf8b9ac77',X'0bfd7baaae91c274fe060a279b8be8286bf36bee22eece8483ed647a4dc974c9');
INSERT INTO audit VALUES(17,1796070564961255,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-e461-7197-8a0b-88ba41721a0d','01a22e25-e41e-739d-a733-9129906d7236','127.0.0.1','5c44579086e04891aadc14339fdfe18e',X'81090becded453a5ea69931f4f1f28b0bea6572573f6838d139dabcb0d32f631');
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'accounts','2026-11-30T20:29:21.32636552Z','6913422009110430814');
CREATE TABLE account (
    id         text    primary key,
    patient_id text    not null unique,
    status     text    not null check (status in ('ACTIVE')),
    opened_at  integer not null
) strict;
INSERT INTO account VALUES('01a22e25-da45-74de-9d3f-95f945c870b1','223e4567-e89b-12d3-a456-426614174014','ACTIVE',1796070562373403);
INSERT INTO account VALUES('01a22e25-da60-759f-8b14-0ab98541f3de','123e4567-e89b-12d3-a456-426614174000','ACTIVE',1796070562400896);
INSERT INTO account VALUES('01a22e25-daa8-7722-a20d-ec107e1f116c','123e4567-e89b-12d3-a456-426614174001','ACTIVE',1796070562472936);
INSERT INTO account VALUES('01a22e25-daa9-7782-bb1e-745dfa7b2cfe','123e4567-e89b-12d3-a456-426614174002','ACTIVE',1796070562473398);
INSERT INTO account VALUES('01a22e25-daaa-77bc-bf78-1cc23153a525','123e4567-e89b-12d3-a456-426614174003','ACTIVE',1796070562474618);
INSERT INTO account VALUES('01a22e25-daab-77ab-adfa-8a152cfa62db','123e4567-e89b-12d3-a456-426614174004','ACTIVE',1796070562475428);
INSERT INTO account VALUES('01a22e25-db4b-724f-9f5b-eddc0c7c5440','223e4567-e89b-12d3-a456-426614174005','ACTIVE',1796070562635132);
INSERT INTO account VALUES('01a22e25-db55-751a-9c87-ed968de279c0','223e4567-e89b-12d3-a456-426614174006','ACTIVE',1796070562645691);
INSERT INTO account VALUES('01a22e25-db7e-73a2-ba1b-198302122d2c','223e4567-e89b-12d3-a456-426614174010','ACTIVE',1796070562686257);
INSERT INTO account VALUES('01a22e25-db7e-73a2-ba1b-198438ee1261','223e4567-e89b-12d3-a456-426614174007','ACTIVE',1796070562686637);
INSERT INTO account VALUES('01a22e25-db7e-73a2-ba1b-198594b878b4','223e4567-e89b-12d3-a456-426614174008','ACTIVE',1796070562686936);
INSERT INTO account VALUES('01a22e25-db7f-733e-9474-2c8d6ce3d6e1','223e4567-e89b-12d3-a456-426614174009','ACTIVE',1796070562687179);
INSERT INTO account VALUES('01a22e25-db7f-733e-9474-2c8ecf8f5245','223e4567-e89b-12d3-a456-426614174012','ACTIVE',1796070562687364);
INSERT INTO account VALUES('01a22e25-db9f-77ed-819d-35ed5fe9e8fc','223e4567-e89b-12d3-a456-426614174013','ACTIVE',1796070562719490);
INSERT INTO account VALUES('01a22e25-dbd8-7380-9f31-22b7b3820151','223e4567-e89b-12d3-a456-426614174011','ACTIVE',1796070562776619);
INSERT INTO account VALUES('01a22e25-e1fc-701b-8f62-4e149e084b03','01a22e25-e1de-7040-b79b-bf52f05229ff','ACTIVE',1796070564348814);
INSERT INTO account VALUES('01a22e25-e461-7197-8a0b-88ba41721a0d','01a22e25-e41e-739d-a733-9129906d7236','ACTIVE',1796070564961013);
DELETE FROM sqlite_sequence;
CREATE UNIQUE INDEX dead_letter_source on dead_letter (consumer_group, topic, part, log_offset);
CREATE INDEX dead_letter_group on dead_letter (consumer_group, id);
CREATE TRIGGER audit_keeps_what_it_has before update on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE TRIGGER audit_keeps_all_it_has before delete on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE INDEX account_opened_at on account (opened_at, id);
COMMIT;

PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE kit_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO kit_schema_history VALUES(1,'kit','2026-11-30T20:29:20.760351954Z','15696404423496024819');
INSERT INTO kit_schema_history VALUES(2,'dead_letter','2026-11-30T20:29:20.760378247Z','5498843355772617483');
INSERT INTO kit_schema_history VALUES(3,'audit','2026-11-30T20:29:20.760381679Z','17127275712980714198');
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
INSERT INTO secret VALUES('audit-key-id',X'a270aa295ecd667abaf4b9a5c5cab05f483c942b2885743cdbb23ffed25fc2be');
INSERT INTO secret VALUES('cursor',X'697de08b8d70f46e58d22984fc4ed669139d2a5e8382d9120804d3af0b6df278');
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
INSERT INTO audit VALUES(1,1796070563640884,'system',NULL,'user.create','allowed','01a22e25-d87f-7461-b8b6-d759e2ae65f2','',NULL,NULL,X'812086bf35c1b763ca0a82fd41845663155b765ad4ff006d95e2807d8fa7edac');
INSERT INTO audit VALUES(2,1796070563641108,'system',NULL,'user.create','allowed','01a22e25-d87f-7461-b8b6-d75878c5b6c6','',NULL,NULL,X'a858d79415997fb2b4b7f4ed551b8e3cee82d827b355215d152eaa183050d03b');
INSERT INTO audit VALUES(3,1796070563641155,'system',NULL,'user.create','allowed','01a22e25-d879-7615-8340-7dfe711c5f5c','',NULL,NULL,X'e8f86b76ab33fa79755a85c02d870028d8cf4eef543bdc0e01b222d3ce06d2a9');
INSERT INTO audit VALUES(4,1796070563641181,'system',NULL,'user.create','allowed','01a22e25-d87c-72f1-aae1-18527000b8cf','',NULL,NULL,X'6ad860486d420a467cb78059031064028c2b032d6e71dd312590d2ccece91af6');
INSERT INTO audit VALUES(5,1796070563641205,'system',NULL,'user.create','allowed','01a22e25-d879-7615-8340-7dfdecf06c75','',NULL,NULL,X'1e02bafcba685dd9d9120135144f8940a9d1a4bebf6e4e9ea3001feda219e006');
INSERT INTO audit VALUES(6,1796070564197137,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','session.begin','allowed','01a22e25-e164-722d-a576-8a873dc31f76','','127.0.0.1','d4e3033859b442a6b1b9df65b4c39fa7',X'fae2e856d5ce4ade0add12226880a2f97216b7e17f5ebf89558a6803e8a66d24');
INSERT INTO audit VALUES(7,1796070565486626,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','user.create','allowed','01a22e25-e663-742f-9248-6bdd84495516','','127.0.0.1','526a36f66f624ea8814c4d32a4ef3b02',X'cb7c92176dae8a8b55b4b42802354ed0800a2c6e525749b0162d5593168907b4');
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'users','2026-11-30T20:29:20.834225385Z','7490564999469042091');
INSERT INTO refinery_schema_history VALUES(2,'accounts','2026-11-30T20:29:20.834255274Z','5537865639460138333');
INSERT INTO refinery_schema_history VALUES(3,'audit_copies','2026-11-30T20:29:20.834258536Z','10973245018246900614');
CREATE TABLE users (
    id            text    primary key,
    email         text    not null, -- as it was written
    email_key     text    not null, -- in lower case: unique without regard to case
    password_hash text    not null, -- PHC string, argon2id
    role          text    not null,
    disabled      integer not null, -- 0 or 1
    created_at    integer not null,
    signed_in_at  integer,
    unique (email_key)
) strict;
INSERT INTO users VALUES('01a22e25-d87f-7461-b8b6-d759e2ae65f2','auditor@test.com','auditor@test.com','$argon2id$v=19$m=19456,t=2,p=1$s7TVHkWKujQTR1TfFyeCOw$GdH+dlV1rLUVwAuPvpUFyGpm0BxfQbzqUrgyPK1JHQU','AUDITOR',0,1796070561919351,NULL);
INSERT INTO users VALUES('01a22e25-d87f-7461-b8b6-d75878c5b6c6','billing@test.com','billing@test.com','$argon2id$v=19$m=19456,t=2,p=1$KPrqt1E62Ti5UuWoDI6Ilg$lBuNTby5/qSdWDQJ63FHl6xb1AR4nvg707hxkRfB4oU','BILLING',0,1796070561919236,NULL);
INSERT INTO users VALUES('01a22e25-d879-7615-8340-7dfe711c5f5c','clinician@test.com','clinician@test.com','$argon2id$v=19$m=19456,t=2,p=1$C/yaEVfuGGh6WMoV3Lq1OQ$2I1OSg266zMMqUfgiV0Fa5cVIDjYt3Pqr5dEs5T6dIM','CLINICIAN',0,1796070561913286,NULL);
INSERT INTO users VALUES('01a22e25-d87c-72f1-aae1-18527000b8cf','receptionist@test.com','receptionist@test.com','$argon2id$v=19$m=19456,t=2,p=1$MPEddH/neSorEJeAwkyvzg$gxeFNbIHyx8+Bv1cT22+CNvNcdfXFQrt0eteO6E0/WA','RECEPTIONIST',0,1796070561916260,NULL);
INSERT INTO users VALUES('01a22e25-d879-7615-8340-7dfdecf06c75','testuser@test.com','testuser@test.com','$argon2id$v=19$m=19456,t=2,p=1$FRjkF1mpYbcRRVHJnkqbKQ$BZMCsJ7flQPNE+dlH55x4E7cFZR4yF4QNRXNGG/TYzQ','ADMIN',0,1796070561913124,1796070564196579);
INSERT INTO users VALUES('01a22e25-e663-742f-9248-6bdd84495516','nurse@example.com','nurse@example.com','$argon2id$v=19$m=19456,t=2,p=1$ea7X3F+5+xqkG6sDyUnQSw$gtRXAjILWN6Sdd0yL7AxDGhIMaA+47yHtELY4+aWcKE','CLINICIAN',0,1796070565475860,NULL);
CREATE TABLE sessions (
    id         text    primary key,
    user_id    text    not null references users (id) on delete cascade,
    created_at integer not null,
    expires_at integer not null
) strict;
INSERT INTO sessions VALUES('01a22e25-e164-722d-a576-8a873dc31f76','01a22e25-d879-7615-8340-7dfdecf06c75',1796070564196579,1798662564196620);
CREATE TABLE refresh_tokens (
    token_hash blob    primary key,
    session_id text    not null references sessions (id) on delete cascade,
    spent      integer not null, -- 0 or 1
    expires_at integer not null
) strict;
INSERT INTO refresh_tokens VALUES(X'0afe5e3fe29f556993b0b1ff894175ed3e8075df426b2f0504289517ff068843','01a22e25-e164-722d-a576-8a873dc31f76',0,1798662564196620);
CREATE TABLE revocations (
    id         integer primary key autoincrement,
    session_id text    not null,
    until_s    integer not null -- when the last token expires, in seconds since 1970
) strict;
CREATE TABLE turn (
    id    integer primary key check (id = 1),
    taken integer not null
) strict;
INSERT INTO turn VALUES(1,1);
CREATE TABLE service_accounts (
    id           text    primary key,
    name         text    not null, -- as it was written
    name_key     text    not null, -- in lower case: unique without regard to case
    role         text    not null,
    key_hash     blob    not null,
    created_at   integer not null,
    expires_at   integer not null,
    last_used_at integer,
    unique (name_key)
) strict;
CREATE TABLE service_sessions (
    id         text    primary key,
    account_id text    not null references service_accounts (id) on delete cascade,
    expires_at integer not null
) strict;
CREATE TABLE known_places (
    place_hash blob    primary key,
    user_id    text    not null references users (id) on delete cascade,
    seen_at    integer not null
) strict;
INSERT INTO known_places VALUES(X'150cf9bdab138a903d6196c00aea22c685c180cdc1b32e1c5ae0c654e835ee03','01a22e25-d879-7615-8340-7dfdecf06c75',1796070564196579);
CREATE TABLE audit_copy (
    writer   text    not null,
    seq      integer not null,
    at       integer not null,
    actor    text    not null,
    role     text,
    action   text    not null,
    outcome  text    not null,
    record   text,
    patients text    not null, -- ids, with a blank between them
    source   text,
    trace    text,
    link     blob    not null,
    primary key (writer, seq)
) strict;
INSERT INTO audit_copy VALUES('patient',1,1796070561914804,'system',NULL,'patient.create','allowed','123e4567-e89b-12d3-a456-426614174000','123e4567-e89b-12d3-a456-426614174000',NULL,NULL,X'876f80098643a3d02ff2e7e881341bd527ded990a054e1f6f600369e8a7c8635');
INSERT INTO audit_copy VALUES('patient',2,1796070561915139,'system',NULL,'patient.create','allowed','123e4567-e89b-12d3-a456-426614174001','123e4567-e89b-12d3-a456-426614174001',NULL,NULL,X'b48b86c0c8f2702c13b3616841b48b76f55d230d974552b0d584902116fd4a19');
INSERT INTO audit_copy VALUES('patient',3,1796070561915344,'system',NULL,'patient.create','allowed','123e4567-e89b-12d3-a456-426614174002','123e4567-e89b-12d3-a456-426614174002',NULL,NULL,X'9e27fe6a20c277d4e419c548df85ce0ee6c2e97fb20914c8df9cd99634a1555d');
INSERT INTO audit_copy VALUES('patient',4,1796070561915514,'system',NULL,'patient.create','allowed','123e4567-e89b-12d3-a456-426614174003','123e4567-e89b-12d3-a456-426614174003',NULL,NULL,X'fad4152f9dfa1bf9f59eb72612fb2512100ee401e0167ff286560e507ac98c8d');
INSERT INTO audit_copy VALUES('patient',5,1796070561915686,'system',NULL,'patient.create','allowed','123e4567-e89b-12d3-a456-426614174004','123e4567-e89b-12d3-a456-426614174004',NULL,NULL,X'dffefc778f56bfb04bb99b35af5c71f9ab155d8d941f8d35b7e6b758bc0e5fc7');
INSERT INTO audit_copy VALUES('patient',6,1796070561915852,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174005','223e4567-e89b-12d3-a456-426614174005',NULL,NULL,X'babbe89427b0271129ced4f4221050adab6d2b3d626772b73bb7ab42db569c68');
INSERT INTO audit_copy VALUES('patient',7,1796070561916096,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174006','223e4567-e89b-12d3-a456-426614174006',NULL,NULL,X'49e55c77625a79c0766a0d77cac05402572b916693cea04f9504dc58a7e35714');
INSERT INTO audit_copy VALUES('patient',8,1796070561924596,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174007','223e4567-e89b-12d3-a456-426614174007',NULL,NULL,X'edfe44d0dcc4a3e6e9bf42256e7a1e2dcd877f5b7388ffe3dfc1e2c4be2aaa29');
INSERT INTO audit_copy VALUES('patient',9,1796070561924838,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174008','223e4567-e89b-12d3-a456-426614174008',NULL,NULL,X'073ba6be09d33c6ee2921e6d1e8f0525b2c8cb7298db1d04078e892d8ed0b2c1');
INSERT INTO audit_copy VALUES('patient',10,1796070561925052,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174009','223e4567-e89b-12d3-a456-426614174009',NULL,NULL,X'd7f3e85093d7965fe9e7e6e377d26821e819d7a8d8f51a8b7207d971c378ba69');
INSERT INTO audit_copy VALUES('patient',11,1796070561925255,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174010','223e4567-e89b-12d3-a456-426614174010',NULL,NULL,X'0097db1c3b1929dd1077aa360f01a06a77f6df4d3dc0c64518b9b087feadfa99');
INSERT INTO audit_copy VALUES('patient',12,1796070561925433,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174011','223e4567-e89b-12d3-a456-426614174011',NULL,NULL,X'8e9f35373fe0a537816a5452b342cfb8e8db5f03e9f53aae0f2cd27a8b665629');
INSERT INTO audit_copy VALUES('patient',13,1796070561925605,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174012','223e4567-e89b-12d3-a456-426614174012',NULL,NULL,X'966740ef782bbff38ffe55ae5790abd08941d8093ff4dc6a24b431841b659fbb');
INSERT INTO audit_copy VALUES('patient',14,1796070561925795,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174013','223e4567-e89b-12d3-a456-426614174013',NULL,NULL,X'19b426fef445b39a5726d14640a72c99ac8d1c6384f21a06b3656de9bc8f3d4d');
INSERT INTO audit_copy VALUES('patient',15,1796070561925976,'system',NULL,'patient.create','allowed','223e4567-e89b-12d3-a456-426614174014','223e4567-e89b-12d3-a456-426614174014',NULL,NULL,X'efed8c0119bfd6e52eb2dbb26c1ee6fcf7bf8912a7bd4ac7a0e30c6191ee0f40');
INSERT INTO audit_copy VALUES('billing',1,1796070562376453,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-da45-74de-9d3f-95f945c870b1','223e4567-e89b-12d3-a456-426614174014','127.0.0.1','0a9b267097824edf9512a80d1dc1e585',X'fac03af5eb438bdab650a25103ec9ed85489a51952d608d85410408ece88babf');
INSERT INTO audit_copy VALUES('billing',2,1796070562401153,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-da60-759f-8b14-0ab98541f3de','123e4567-e89b-12d3-a456-426614174000','127.0.0.1','47e38cdd5c9548eab3b2de3f7e87d058',X'c974d126b8be6b5b77d1e4e9028bf1424cb8f65cd95370cb0bb3f50f297564ab');
INSERT INTO audit_copy VALUES('billing',3,1796070562473291,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daa8-7722-a20d-ec107e1f116c','123e4567-e89b-12d3-a456-426614174001','127.0.0.1','0270ecfc045941d89f292177eb10ce6a',X'e1312a7dcfb9b661b3de7860d20883d2b4e820119d29c8ec049eac505836e418');
INSERT INTO audit_copy VALUES('billing',4,1796070562476332,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daa9-7782-bb1e-745dfa7b2cfe','123e4567-e89b-12d3-a456-426614174002','127.0.0.1','eb628baabe9945eaa58fa5543f669441',X'd32b1a83f6962d13b47d738950691ad8c91ab4ba38078d26430fb574cfed3058');
INSERT INTO audit_copy VALUES('billing',5,1796070562476455,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daaa-77bc-bf78-1cc23153a525','123e4567-e89b-12d3-a456-426614174003','127.0.0.1','44e21357a2ed47b3b13ccf87d807b486',X'0668372c0f374176750042fac61b416751e040689625295a3bd0a0c5cd9d8f0a');
INSERT INTO audit_copy VALUES('billing',6,1796070562476513,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-daab-77ab-adfa-8a152cfa62db','123e4567-e89b-12d3-a456-426614174004','127.0.0.1','df5fe688216d4860bcb935fa5198040a',X'5e80d295254ac0fb976cde99af3a9512691a0ff838bade74e8b07cb9b974eb46');
INSERT INTO audit_copy VALUES('billing',7,1796070562752472,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db4b-724f-9f5b-eddc0c7c5440','223e4567-e89b-12d3-a456-426614174005','127.0.0.1','9e8d73ec9dd84239ada1593c5f694f13',X'c2ab3d7aa126a115f539786172d3a1118d6cbf9a7e27c62cd9821033fd202eb6');
INSERT INTO audit_copy VALUES('billing',8,1796070562752755,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db55-751a-9c87-ed968de279c0','223e4567-e89b-12d3-a456-426614174006','127.0.0.1','999a9c923564459b9decad4cd4185875',X'aa38b7355b0c9c94eb8445011e0a8c6746a1a9a8aa884d353a8928fc7843b2cc');
INSERT INTO audit_copy VALUES('billing',9,1796070562752872,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7e-73a2-ba1b-198302122d2c','223e4567-e89b-12d3-a456-426614174010','127.0.0.1','a1027e4f133a4bc5a69d36aab35954e2',X'c0ba7336fe455dd62502ed3fcadbca56bbf34c746937bf62f1599c619f38e087');
INSERT INTO audit_copy VALUES('billing',10,1796070562752981,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7e-73a2-ba1b-198438ee1261','223e4567-e89b-12d3-a456-426614174007','127.0.0.1','367c11ba99a04af79c2d713f30fb0593',X'1ca25fc01f9873c6ecd642adc9b7a88d552959e655661b37440363e08e7cc8bb');
INSERT INTO audit_copy VALUES('billing',11,1796070562753082,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7e-73a2-ba1b-198594b878b4','223e4567-e89b-12d3-a456-426614174008','127.0.0.1','05a2f41116654e2dafbb48e66953eb5c',X'51708000a2a374727a156f20a4f7c0ecb43018771318691a19cefc40abf13a38');
INSERT INTO audit_copy VALUES('billing',12,1796070562753182,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7f-733e-9474-2c8d6ce3d6e1','223e4567-e89b-12d3-a456-426614174009','127.0.0.1','ae1be81fb2d648278fcfc039657da434',X'6a4d50141847e4b40c720ef3e159e1f1aee663876ee08c0dcfb43f7386cad6d7');
INSERT INTO audit_copy VALUES('billing',13,1796070562753275,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db7f-733e-9474-2c8ecf8f5245','223e4567-e89b-12d3-a456-426614174012','127.0.0.1','c3f22f4f4ec34653936221ab62faded1',X'6227f1b1d610f6eb3a40600341538c98dc86a4d7bf526cdb17a35176ead5d2e0');
INSERT INTO audit_copy VALUES('billing',14,1796070562753368,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-db9f-77ed-819d-35ed5fe9e8fc','223e4567-e89b-12d3-a456-426614174013','127.0.0.1','4671da6408e14ecf83c91c0541932856',X'f170ef13ef1ede44d2273bdc30a5f6177e092af9f9a903869bd89ca19afed758');
INSERT INTO audit_copy VALUES('billing',15,1796070562895565,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-dbd8-7380-9f31-22b7b3820151','223e4567-e89b-12d3-a456-426614174011','127.0.0.1','9dae63ba905541cf95a55c0a91c53f49',X'90ec655c52578de9e313aa5544bceb7ea37d322ba03bd37a1e824fb2ec984d64');
INSERT INTO audit_copy VALUES('auth',1,1796070563640884,'system',NULL,'user.create','allowed','01a22e25-d87f-7461-b8b6-d759e2ae65f2','',NULL,NULL,X'812086bf35c1b763ca0a82fd41845663155b765ad4ff006d95e2807d8fa7edac');
INSERT INTO audit_copy VALUES('auth',2,1796070563641108,'system',NULL,'user.create','allowed','01a22e25-d87f-7461-b8b6-d75878c5b6c6','',NULL,NULL,X'a858d79415997fb2b4b7f4ed551b8e3cee82d827b355215d152eaa183050d03b');
INSERT INTO audit_copy VALUES('auth',3,1796070563641155,'system',NULL,'user.create','allowed','01a22e25-d879-7615-8340-7dfe711c5f5c','',NULL,NULL,X'e8f86b76ab33fa79755a85c02d870028d8cf4eef543bdc0e01b222d3ce06d2a9');
INSERT INTO audit_copy VALUES('auth',4,1796070563641181,'system',NULL,'user.create','allowed','01a22e25-d87c-72f1-aae1-18527000b8cf','',NULL,NULL,X'6ad860486d420a467cb78059031064028c2b032d6e71dd312590d2ccece91af6');
INSERT INTO audit_copy VALUES('auth',5,1796070563641205,'system',NULL,'user.create','allowed','01a22e25-d879-7615-8340-7dfdecf06c75','',NULL,NULL,X'1e02bafcba685dd9d9120135144f8940a9d1a4bebf6e4e9ea3001feda219e006');
INSERT INTO audit_copy VALUES('auth',6,1796070564197137,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','session.begin','allowed','01a22e25-e164-722d-a576-8a873dc31f76','','127.0.0.1','d4e3033859b442a6b1b9df65b4c39fa7',X'fae2e856d5ce4ade0add12226880a2f97216b7e17f5ebf89558a6803e8a66d24');
INSERT INTO audit_copy VALUES('patient',16,1796070564320786,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','patient.create','allowed','01a22e25-e1de-7040-b79b-bf52f05229ff','01a22e25-e1de-7040-b79b-bf52f05229ff','127.0.0.1','979b1e020d714faa9cde8bdbf8b9ac77',X'0a72596762434c514d96024eb4926a52e7f2c33a4734fef4b3583678fa1e3972');
INSERT INTO audit_copy VALUES('billing',16,1796070564352345,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-e1fc-701b-8f62-4e149e084b03','01a22e25-e1de-7040-b79b-bf52f05229ff','127.0.0.1','979b1e020d714faa9cde8bdbf8b9ac77',X'0bfd7baaae91c274fe060a279b8be8286bf36bee22eece8483ed647a4dc974c9');
INSERT INTO audit_copy VALUES('patient',17,1796070564532739,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','patient.update','allowed','01a22e25-e1de-7040-b79b-bf52f05229ff','01a22e25-e1de-7040-b79b-bf52f05229ff','127.0.0.1','daaff2968ae64af29000676b482f7a0c',X'273f2f3bf56628c021602856b6daa3bef033534068ca34dcefadfb1d7a50f0c6');
INSERT INTO audit_copy VALUES('patient',18,1796070564918876,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','patient.create','allowed','01a22e25-e41e-739d-a733-9129906d7236','01a22e25-e41e-739d-a733-9129906d7236','127.0.0.1','5c44579086e04891aadc14339fdfe18e',X'42568971258ee5937e2069720463a5835c64b7cbf8f852b56b8c1847923ae032');
INSERT INTO audit_copy VALUES('billing',17,1796070564961255,'spiffe://medisync/patient',NULL,'account.open','allowed','01a22e25-e461-7197-8a0b-88ba41721a0d','01a22e25-e41e-739d-a733-9129906d7236','127.0.0.1','5c44579086e04891aadc14339fdfe18e',X'81090becded453a5ea69931f4f1f28b0bea6572573f6838d139dabcb0d32f631');
INSERT INTO audit_copy VALUES('patient',19,1796070565161380,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','patient.delete','allowed','01a22e25-e41e-739d-a733-9129906d7236','01a22e25-e41e-739d-a733-9129906d7236','127.0.0.1','f560087b00f945cab75f542df6fbc7da',X'94dd632133ca0eb1c757ce94e71e4c9a26ca165de7478e3d386ff6db8c0564f7');
INSERT INTO audit_copy VALUES('auth',7,1796070565486626,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','user.create','allowed','01a22e25-e663-742f-9248-6bdd84495516','','127.0.0.1','526a36f66f624ea8814c4d32a4ef3b02',X'cb7c92176dae8a8b55b4b42802354ed0800a2c6e525749b0162d5593168907b4');
INSERT INTO audit_copy VALUES('analytics',1,1796070565652687,'01a22e25-d879-7615-8340-7dfdecf06c75','ADMIN','analytics.read','allowed',NULL,'','127.0.0.1','a7d62c2e9ecd4fd4a96e13ec1b563fe8',X'f63baeeaf5b4af6dbd9d57e4061ad8c7f2a0573691c6014ecb686fe983f8c012');
CREATE TABLE audit_copy_patient (
    patient text    not null,
    at      integer not null,
    writer  text    not null,
    seq     integer not null,
    primary key (patient, at, writer, seq)
) strict, without rowid;
INSERT INTO audit_copy_patient VALUES('01a22e25-e1de-7040-b79b-bf52f05229ff',1796070564320786,'patient',16);
INSERT INTO audit_copy_patient VALUES('01a22e25-e1de-7040-b79b-bf52f05229ff',1796070564352345,'billing',16);
INSERT INTO audit_copy_patient VALUES('01a22e25-e1de-7040-b79b-bf52f05229ff',1796070564532739,'patient',17);
INSERT INTO audit_copy_patient VALUES('01a22e25-e41e-739d-a733-9129906d7236',1796070564918876,'patient',18);
INSERT INTO audit_copy_patient VALUES('01a22e25-e41e-739d-a733-9129906d7236',1796070564961255,'billing',17);
INSERT INTO audit_copy_patient VALUES('01a22e25-e41e-739d-a733-9129906d7236',1796070565161380,'patient',19);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174000',1796070561914804,'patient',1);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174000',1796070562401153,'billing',2);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174001',1796070561915139,'patient',2);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174001',1796070562473291,'billing',3);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174002',1796070561915344,'patient',3);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174002',1796070562476332,'billing',4);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174003',1796070561915514,'patient',4);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174003',1796070562476455,'billing',5);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174004',1796070561915686,'patient',5);
INSERT INTO audit_copy_patient VALUES('123e4567-e89b-12d3-a456-426614174004',1796070562476513,'billing',6);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174005',1796070561915852,'patient',6);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174005',1796070562752472,'billing',7);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174006',1796070561916096,'patient',7);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174006',1796070562752755,'billing',8);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174007',1796070561924596,'patient',8);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174007',1796070562752981,'billing',10);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174008',1796070561924838,'patient',9);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174008',1796070562753082,'billing',11);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174009',1796070561925052,'patient',10);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174009',1796070562753182,'billing',12);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174010',1796070561925255,'patient',11);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174010',1796070562752872,'billing',9);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174011',1796070561925433,'patient',12);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174011',1796070562895565,'billing',15);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174012',1796070561925605,'patient',13);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174012',1796070562753275,'billing',13);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174013',1796070561925795,'patient',14);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174013',1796070562753368,'billing',14);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174014',1796070561925976,'patient',15);
INSERT INTO audit_copy_patient VALUES('223e4567-e89b-12d3-a456-426614174014',1796070562376453,'billing',1);
DELETE FROM sqlite_sequence;
CREATE UNIQUE INDEX dead_letter_source on dead_letter (consumer_group, topic, part, log_offset);
CREATE INDEX dead_letter_group on dead_letter (consumer_group, id);
CREATE TRIGGER audit_keeps_what_it_has before update on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE TRIGGER audit_keeps_all_it_has before delete on audit
begin select raise(abort, 'the audit trail only grows'); end;
CREATE INDEX users_created on users (created_at, id);
CREATE INDEX sessions_user on sessions (user_id);
CREATE INDEX sessions_expires on sessions (expires_at);
CREATE INDEX refresh_tokens_session on refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires on refresh_tokens (expires_at);
CREATE INDEX revocations_until on revocations (until_s);
CREATE INDEX service_accounts_created on service_accounts (created_at, id);
CREATE INDEX service_accounts_expires on service_accounts (expires_at);
CREATE INDEX service_sessions_account on service_sessions (account_id);
CREATE INDEX service_sessions_expires on service_sessions (expires_at);
CREATE INDEX known_places_user on known_places (user_id, seen_at);
CREATE INDEX known_places_seen on known_places (seen_at);
CREATE INDEX audit_copy_by_time on audit_copy (at, writer, seq);
CREATE INDEX audit_copy_by_actor on audit_copy (actor, at);
CREATE TRIGGER audit_copy_keeps_what_it_has before update on audit_copy
begin select raise(abort, 'the audit trail only grows'); end;
CREATE TRIGGER audit_copy_keeps_all_it_has before delete on audit_copy
begin select raise(abort, 'the audit trail only grows'); end;
COMMIT;

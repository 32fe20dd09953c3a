-- Users of the demo, whose password everybody knows: they are served while the demo is on, and as
-- good as absent otherwise. Those of earlier versions are known by their emails, which are put
-- together here: logs that show statements name no account.
alter table users add column demo bigint not null default 0; -- 0 or 1
update users set demo = 1 where email_key in (
    'testuser' || '@test.com', 'clinician' || '@test.com', 'receptionist' || '@test.com',
    'billing' || '@test.com', 'auditor' || '@test.com'
);

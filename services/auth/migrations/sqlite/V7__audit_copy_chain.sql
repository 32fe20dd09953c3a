-- Each entry's chain. See the kit's migration V5__audit_chain.
create table audit_copy_with_chain (
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
    changed  text,             -- which fields were set, with a blank between them
    chain    integer not null,
    primary key (writer, chain, seq)
) strict, without rowid;
insert into audit_copy_with_chain
select writer, seq, at, actor, role, action, outcome, record, patients, source, trace, link,
       changed, 1
from audit_copy order by writer, seq;
drop table audit_copy;
alter table audit_copy_with_chain rename to audit_copy;
create index audit_copy_by_time on audit_copy (at, writer, chain, seq);
create index audit_copy_by_actor on audit_copy (actor, at);

create table audit_copy_patient_with_chain (
    patient text    not null,
    at      integer not null,
    writer  text    not null,
    chain   integer not null,
    seq     integer not null,
    primary key (patient, at, writer, chain, seq)
) strict, without rowid;
insert into audit_copy_patient_with_chain
select patient, at, writer, 1, seq from audit_copy_patient order by patient, at, writer, seq;
drop table audit_copy_patient;
alter table audit_copy_patient_with_chain rename to audit_copy_patient;

create trigger audit_copy_keeps_what_it_has before update on audit_copy
begin select raise(abort, 'the audit trail only grows'); end;
create trigger audit_copy_keeps_all_it_has before delete on audit_copy
begin select raise(abort, 'the audit trail only grows'); end;

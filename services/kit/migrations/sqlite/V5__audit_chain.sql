-- A chain for each process that writes; what was written before is chain 1. Chain 0 is the registry:
-- each of its entries opens the chain of its number.
create table audit_with_chain (
    seq      integer not null, -- 1, 2, 3, … in each chain, without a gap
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
    primary key (chain, seq)
) strict, without rowid;

insert into audit_with_chain
select seq, at, actor, role, action, outcome, record, patients, source, trace, link, changed, 1
from audit order by seq;

drop table audit;
alter table audit_with_chain rename to audit;

create trigger audit_keeps_what_it_has before update on audit
begin select raise(abort, 'the audit trail only grows'); end;
create trigger audit_keeps_all_it_has before delete on audit
begin select raise(abort, 'the audit trail only grows'); end;

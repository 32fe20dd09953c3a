-- Who did what to which record. Rows are chained: each link is keyed, and made from the one before.
create table audit (
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

create trigger audit_keeps_what_it_has before update on audit
begin select raise(abort, 'the audit trail only grows'); end;
create trigger audit_keeps_all_it_has before delete on audit
begin select raise(abort, 'the audit trail only grows'); end;

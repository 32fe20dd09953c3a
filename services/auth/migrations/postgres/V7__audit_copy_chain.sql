-- Each entry's chain. See the kit's migration V6__audit_chain for why there is no default, and for
-- tables that were handed to another role.
--
-- Whom an entry concerns is found by an index of the entry itself: rows of their own, of which a
-- list has one for each patient, were most of what a page of patients wrote.
do $$
begin
    if not exists (select from pg_attribute
                   where attrelid = 'audit_copy'::regclass and attname = 'chain') then
        alter table audit_copy add column chain bigint not null default 1;
        alter table audit_copy alter column chain drop default;
        alter table audit_copy drop constraint audit_copy_pkey;
        alter table audit_copy add primary key (writer, chain, seq);
        drop index audit_copy_by_time;
        create index audit_copy_by_time on audit_copy (at, writer, chain, seq);

        create index audit_copy_by_patient on audit_copy
            using gin (string_to_array(patients, ' '));
        drop table audit_copy_patient;
    end if;
end
$$;

-- Each entry's chain. See the kit's migration V6__audit_chain for why there is no default, and for
-- tables that were handed to another role.
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

        alter table audit_copy_patient add column chain bigint not null default 1;
        alter table audit_copy_patient alter column chain drop default;
        alter table audit_copy_patient drop constraint audit_copy_patient_pkey;
        alter table audit_copy_patient add primary key (patient, at, writer, chain, seq);
    end if;
end
$$;

-- A chain for each process that writes; what was written before is chain 1. Chain 0 is the registry:
-- each of its entries opens the chain of its number.
--
-- Without a default: an earlier version would continue the wrong chain.
--
-- Where the table was handed to another role (see SECURITY.md), that role changes it before the
-- upgrade (CHANGELOG.md says how): then there is nothing to do here.
do $$
begin
    if not exists (select from pg_attribute
                   where attrelid = 'audit'::regclass and attname = 'chain') then
        alter table audit add column chain bigint not null default 1;
        alter table audit alter column chain drop default;
        alter table audit drop constraint audit_pkey;
        alter table audit add primary key (chain, seq);
    end if;
end
$$;

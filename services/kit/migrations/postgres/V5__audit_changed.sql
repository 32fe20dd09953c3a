-- Which fields of a record an entry says were set, with a blank between them.
--
-- Where the table was handed to another role (see SECURITY.md), that role adds the column before
-- the upgrade: then there is nothing to do here.
do $$
begin
    if not exists (select from pg_attribute
                   where attrelid = 'audit'::regclass and attname = 'changed') then
        alter table audit add column changed text;
    end if;
end
$$;

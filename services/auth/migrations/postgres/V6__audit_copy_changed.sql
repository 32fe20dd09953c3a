-- Which fields of a record an entry says were set, with a blank between them. See the kit's
-- migration of the same name for a table that was handed to another role.
do $$
begin
    if not exists (select from pg_attribute
                   where attrelid = 'audit_copy'::regclass and attname = 'changed') then
        alter table audit_copy add column changed text;
    end if;
end
$$;

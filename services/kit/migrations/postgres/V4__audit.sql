-- Who did what to which record. Rows are chained: each link is keyed, and made from the one before.
create table audit (
    seq      bigint primary key, -- 1, 2, 3, … without a gap
    at       timestamptz not null,
    actor    text        not null,
    role     text,
    action   text        not null,
    outcome  text        not null,
    record   text,
    patients text        not null, -- ids, with a blank between them
    source   text,
    trace    text,
    link     bytea       not null
);

-- An owner can give itself these rights again; who is not the owner cannot. So the table is best
-- handed to another role (see SECURITY.md). A superuser is above all of this.
revoke update, delete, truncate on audit from current_user;

-- Who may sign in.
create table users (
    id            text    primary key,
    email         text    not null, -- as it was written
    email_key     text    not null, -- in lower case: unique without regard to case
    password_hash text    not null, -- PHC string, argon2id
    role          text    not null,
    disabled      integer not null, -- 0 or 1
    created_at    integer not null,
    signed_in_at  integer,
    unique (email_key)
) strict;
create index users_created on users (created_at, id);

-- Sign-ins that can be refreshed. One that was ended has no row.
create table sessions (
    id         text    primary key,
    user_id    text    not null references users (id) on delete cascade,
    created_at integer not null,
    expires_at integer not null
) strict;
create index sessions_user on sessions (user_id);
create index sessions_expires on sessions (expires_at);

-- Refresh tokens, only as SHA-256. Spent ones are kept, to know one that comes back.
create table refresh_tokens (
    token_hash blob    primary key,
    session_id text    not null references sessions (id) on delete cascade,
    spent      integer not null, -- 0 or 1
    expires_at integer not null
) strict;
create index refresh_tokens_session on refresh_tokens (session_id);
create index refresh_tokens_expires on refresh_tokens (expires_at);

-- Sign-ins that were ended before their tokens expired, in the order of their commit.
create table revocations (
    id         integer primary key autoincrement,
    session_id text    not null,
    until_s    integer not null -- when the last token expires, in seconds since 1970
) strict;
create index revocations_until on revocations (until_s);

-- Whoever changes users or ends sign-ins writes this row first: they take turns until they commit.
-- So revocations commit in the order of their ids, and nobody counts admins while another leaves.
create table turn (
    id    integer primary key check (id = 1),
    taken integer not null
) strict;
insert into turn (id, taken) values (1, 0);

-- Who may sign in.
create table users (
    id            uuid        primary key,
    email         text        not null, -- as it was written
    email_key     text        not null, -- in lower case: unique without regard to case
    password_hash text        not null, -- PHC string, argon2id
    role          text        not null,
    disabled      bigint      not null, -- 0 or 1
    created_at    timestamptz not null,
    signed_in_at  timestamptz,
    constraint users_email_key unique (email_key)
);
create index users_created on users (created_at, id);

-- Sign-ins that can be refreshed. One that was ended has no row.
create table sessions (
    id         uuid        primary key,
    user_id    uuid        not null references users (id) on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index sessions_user on sessions (user_id);
create index sessions_expires on sessions (expires_at);

-- Refresh tokens, only as SHA-256. Spent ones are kept, to know one that comes back.
create table refresh_tokens (
    token_hash bytea       primary key,
    session_id uuid        not null references sessions (id) on delete cascade,
    spent      bigint      not null, -- 0 or 1
    expires_at timestamptz not null
);
create index refresh_tokens_session on refresh_tokens (session_id);
create index refresh_tokens_expires on refresh_tokens (expires_at);

-- Sign-ins that were ended before their tokens expired, in the order of their commit.
create table revocations (
    id         bigint generated always as identity primary key,
    session_id uuid   not null,
    until_s    bigint not null -- when the last token expires, in seconds since 1970
);
create index revocations_until on revocations (until_s);

-- Whoever changes users or ends sign-ins writes this row first: they take turns until they commit.
-- So revocations commit in the order of their ids, and nobody counts admins while another leaves.
create table turn (
    id    bigint primary key check (id = 1),
    taken bigint not null
);
insert into turn (id, taken) values (1, 0);

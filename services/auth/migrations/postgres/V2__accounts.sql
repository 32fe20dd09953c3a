-- Programs that sign in by a key. The key is random, so that SHA-256 of it cannot be turned back.
create table service_accounts (
    id           uuid        primary key,
    name         text        not null, -- as it was written
    name_key     text        not null, -- in lower case: unique without regard to case
    role         text        not null,
    key_hash     bytea       not null,
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    last_used_at timestamptz,
    constraint service_accounts_name_key unique (name_key)
);
create index service_accounts_created on service_accounts (created_at, id);
create index service_accounts_expires on service_accounts (expires_at);

-- Their sign-ins: not refreshed, and gone with their one token.
create table service_sessions (
    id         uuid        primary key,
    account_id uuid        not null references service_accounts (id) on delete cascade,
    expires_at timestamptz not null
);
create index service_sessions_account on service_sessions (account_id);
create index service_sessions_expires on service_sessions (expires_at);

-- From where users signed in: floods from elsewhere do not keep them out. Only SHA-256 of account
-- and address together, so that no row says where somebody was to whoever does not guess it.
create table known_places (
    place_hash bytea       primary key,
    user_id    uuid        not null references users (id) on delete cascade,
    seen_at    timestamptz not null
);
create index known_places_user on known_places (user_id, seen_at);
create index known_places_seen on known_places (seen_at);

-- Events that are committed and not yet published.
create table outbox (
    id          bigint generated always as identity primary key,
    topic       text        not null,
    record_key  text        not null,
    headers     text        not null, -- JSON: [[name, value], …]
    payload     bytea       not null,
    created_at  timestamptz not null
);

-- Up to where a consumer group has read: kept with the effect of what it read.
create table consumer_position (
    consumer_group text   not null,
    topic          text   not null,
    part           bigint not null,
    next_offset    bigint not null,
    primary key (consumer_group, topic, part)
);

-- Keys that the service's replicas share, such as the one that seals cursors.
create table secret (
    name  text primary key,
    value bytea not null
);

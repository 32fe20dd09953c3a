-- Events that are committed and not yet published, in the order of their commit.
create table outbox (
    id          integer primary key autoincrement,
    topic       text    not null,
    record_key  text    not null,
    headers     text    not null, -- JSON: [[name, value], …]
    payload     blob    not null,
    created_at  integer not null
) strict;

-- Up to where a consumer group has read: kept with the effect of what it read.
create table consumer_position (
    consumer_group text    not null,
    topic          text    not null,
    part           integer not null,
    next_offset    integer not null,
    primary key (consumer_group, topic, part)
) strict;

-- Keys that the service's replicas share, such as the one that seals cursors.
create table secret (
    name  text primary key,
    value blob not null
) strict;

-- Events that a consumer group gave up: where each is in the log, and why. What it says stays in
-- the log, since it is of a person.
create table dead_letter (
    id             integer primary key autoincrement,
    consumer_group text    not null,
    topic          text    not null,
    part           integer not null,
    log_offset     integer not null,
    event_id       text    not null,
    event_type     text    not null,
    error          text    not null, -- names no person
    died_at        integer not null
) strict;

-- Buried once.
create unique index dead_letter_source on dead_letter (consumer_group, topic, part, log_offset);
create index dead_letter_group on dead_letter (consumer_group, id);

-- What is known of a patient: how far their events were counted, and the year of birth while they
-- are registered. Of a deleted one only the tombstone stays, so that an old event is recognised.
create table patient (
    id         text    primary key,
    version    integer not null,
    state      text    not null check (state in ('REGISTERED', 'DELETED')),
    birth_year integer,
    check (state = 'REGISTERED' or birth_year is null)
) strict;

-- Registered patients by year of birth, 0 when it is not known. Kept by every event, so that the
-- summary costs the same however many patients there are.
create table birth_year_count (
    birth_year integer primary key,
    patients   integer not null
) strict;

-- Events by the UTC day on which they occurred.
create table day_count (
    day     text    primary key,
    created integer not null,
    deleted integer not null
) strict;

-- All events: one row.
create table event_count (
    id      integer primary key check (id = 1),
    created integer not null,
    updated integer not null,
    deleted integer not null
) strict;
insert into event_count (id, created, updated, deleted) values (1, 0, 0, 0);

-- What is known of a patient: how far their events were counted, and the year of birth while they
-- are registered. Of a deleted one only the tombstone stays, so that an old event is recognised.
create table patient (
    id         uuid   primary key,
    version    bigint not null,
    state      text   not null check (state in ('REGISTERED', 'DELETED')),
    birth_year bigint,
    check (state = 'REGISTERED' or birth_year is null)
);

-- Registered patients by year of birth, 0 when it is not known. Kept by every event, so that the
-- summary costs the same however many patients there are.
create table birth_year_count (
    birth_year bigint primary key,
    patients   bigint not null
);

-- Events by the UTC day on which they occurred.
create table day_count (
    day     date   primary key,
    created bigint not null,
    deleted bigint not null
);

-- All events: one row. Who counts locks it first, so that replicas count one after the other.
create table event_count (
    id      bigint primary key check (id = 1),
    created bigint not null,
    updated bigint not null,
    deleted bigint not null
);
insert into event_count (id, created, updated, deleted) values (1, 0, 0, 0);

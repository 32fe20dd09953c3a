-- A replay builds the counters once more while the old ones are served: each set is a projection,
-- known by its number. Numbers are never used again.

-- Which one is shown and kept by the consumers: one row. Who counts looks here first.
create table projection (
    id     integer primary key check (id = 1),
    served integer not null
) strict;
insert into projection (id, served) values (1, 1);

-- The replay that goes on, or was killed: one row. Its claim runs out if it is not renewed.
create table replay (
    id          integer primary key check (id = 1),
    last        integer not null, -- the highest number that was given to a projection
    building    integer,
    lease_until integer
) strict;
insert into replay (id, last) values (1, 1);

create table patient_2 (
    projection integer not null,
    id         text    not null,
    version    integer not null,
    state      text    not null check (state in ('REGISTERED', 'DELETED')),
    birth_year integer,
    primary key (projection, id),
    check (state = 'REGISTERED' or birth_year is null)
) strict;
insert into patient_2 select 1, id, version, state, birth_year from patient;
drop table patient;
alter table patient_2 rename to patient;

create table birth_year_count_2 (
    projection integer not null,
    birth_year integer not null,
    patients   integer not null,
    primary key (projection, birth_year)
) strict;
insert into birth_year_count_2 select 1, birth_year, patients from birth_year_count;
drop table birth_year_count;
alter table birth_year_count_2 rename to birth_year_count;

create table day_count_2 (
    projection integer not null,
    day        text    not null,
    created    integer not null,
    deleted    integer not null,
    primary key (projection, day)
) strict;
insert into day_count_2 select 1, day, created, deleted from day_count;
drop table day_count;
alter table day_count_2 rename to day_count;

-- All events: one row a projection, made first and removed last, so that it tells which there are.
create table event_count_2 (
    projection integer primary key,
    created    integer not null,
    updated    integer not null,
    deleted    integer not null
) strict;
insert into event_count_2 select 1, created, updated, deleted from event_count;
drop table event_count;
alter table event_count_2 rename to event_count;

-- A replay builds the counters once more while the old ones are served: each set is a projection,
-- known by its number. Numbers are never used again.

-- Which one is shown and kept by the consumers: one row. Who counts locks it first, so that replicas
-- count one after the other, and none counts while another projection takes over.
create table projection (
    id     bigint primary key check (id = 1),
    served bigint not null
);
insert into projection (id, served) values (1, 1);

-- The replay that goes on, or was killed: one row. Its claim runs out if it is not renewed.
create table replay (
    id          bigint primary key check (id = 1),
    last        bigint not null, -- the highest number that was given to a projection
    building    bigint,
    lease_until timestamptz
);
insert into replay (id, last) values (1, 1);

alter table patient add column projection bigint not null default 1;
alter table patient alter column projection drop default;
alter table patient drop constraint patient_pkey;
alter table patient add primary key (projection, id);

alter table birth_year_count add column projection bigint not null default 1;
alter table birth_year_count alter column projection drop default;
alter table birth_year_count drop constraint birth_year_count_pkey;
alter table birth_year_count add primary key (projection, birth_year);

alter table day_count add column projection bigint not null default 1;
alter table day_count alter column projection drop default;
alter table day_count drop constraint day_count_pkey;
alter table day_count add primary key (projection, day);

-- All events: one row a projection, made first and removed last, so that it tells which there are.
alter table event_count add column projection bigint not null default 1;
alter table event_count alter column projection drop default;
alter table event_count drop column id; -- and with it the primary key
alter table event_count add primary key (projection);

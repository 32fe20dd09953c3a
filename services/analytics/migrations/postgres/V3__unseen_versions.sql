-- An event counts once in whatever order a patient's events come: those of partitions that were
-- added to the topic come beside older ones, and dead letters after all others.

-- Versions below the newest one whose events have not come yet, as ranges: '2-4 7-7'. Of what was
-- counted before, whatever is older than the newest version is taken for counted, as it was then.
alter table patient add column unseen text not null default '';

-- The version that told the year of birth.
alter table patient add column birth_year_version bigint not null default 0;

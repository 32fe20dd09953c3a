-- Every row of the outbox is deleted soon after it is written: what is left of them is cleared away
-- by their number, not by their share of a table that is mostly empty.
alter table outbox set (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000
);

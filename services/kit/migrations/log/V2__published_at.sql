-- When a record was published, in milliseconds since 1970: replays begin at a time. Records from
-- before this migration count as published at its very beginning.
alter table log_record add column published_at_ms integer not null default 0;

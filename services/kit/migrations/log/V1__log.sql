-- The embedded event log: one row a record, in the order in which they were published.
create table log_record (
    position   integer primary key autoincrement,
    topic      text    not null,
    record_key text    not null,
    identity   text,             -- what makes it the same record when it is published again
    headers    text    not null, -- JSON: [[name, value], …]
    payload    blob    not null
) strict;

-- Published once, however often the relay tries.
create unique index log_record_topic_identity on log_record (topic, identity);
create index log_record_topic on log_record (topic, position);

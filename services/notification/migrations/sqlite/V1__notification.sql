-- One message to a patient for one event.
create table notification (
    seq             integer primary key autoincrement, -- the order in which they came and are sent
    id              text    not null,
    event_id        text    not null,
    patient_id      text    not null,
    kind            text    not null check (kind in ('WELCOME', 'UPDATE', 'FAREWELL')),
    channel         text    not null check (channel in ('file', 'smtp')),
    status          text    not null check (status in ('PENDING', 'SENT', 'FAILED')),
    created_at      integer not null,
    sent_at         integer,
    attempts        integer not null,
    next_attempt_at integer, -- while pending: not tried before
    event           blob,    -- while pending: the event's value, which names the recipient
    headers         text,    -- while pending: its headers. JSON: [[name, value], …]
    source_part     integer, -- where the event was read from: its partition
    source_offset   integer, -- and its offset there
    -- Personal data stays no longer than it is needed.
    check ((status = 'PENDING') = (event is not null)),
    check ((status = 'PENDING') = (headers is not null)),
    check ((status = 'PENDING') = (next_attempt_at is not null))
) strict;

create unique index notification_event_id on notification (event_id);
create index notification_patient_id_seq on notification (patient_id, seq);
create index notification_pending on notification (seq, next_attempt_at)
    where status = 'PENDING';
create index notification_pending_of_patient on notification (patient_id, seq)
    where status = 'PENDING';

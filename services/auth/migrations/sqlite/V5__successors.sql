-- Two tabs that refresh at once have one token: whoever comes second, soon, gets what the first one
-- got. That is kept for so long only, sealed with a key that is made of the spent token, of which
-- the store has no more than SHA-256.
alter table refresh_tokens add column spent_at integer;
alter table refresh_tokens add column successor blob;
create index refresh_tokens_successor on refresh_tokens (spent_at) where successor is not null;

-- Who waits for an account is looked for among those who were registered lately: an index on it would
-- have every account that is opened written into all indexes (the update would not be "HOT").
drop index patient_without_account;
-- Room for that update in the row's own page.
alter table patient set (fillfactor = 85);

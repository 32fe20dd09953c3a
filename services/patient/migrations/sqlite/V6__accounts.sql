-- Who waits for an account is looked for among those who were registered lately.
drop index patient_without_account;

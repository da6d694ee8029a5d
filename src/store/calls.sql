-- When Drive granted a channel, and when Google last called on it. A channel that was opened before this was written down has
-- neither: it is replaced by one of which it is known.
alter table channel add column opened_at integer;
alter table channel add column called_at integer;

-- What the engines ask at every step costs the same however many files and folders are known. A ledger is never
-- analysed, so these suit what SQLite guesses without: that any first column leaves ten rows. By that guess an index by
-- stage is as good for one file's delivered contents as one by the file, and sorting a queue costs nothing.
drop index delivery_stage;
drop index delivery_due;
create index delivery_queue on delivery (stage, run_at, seq);
create index delivery_publishing on delivery (seq) where stage = 'publishing';
create index delivery_skipped on delivery (stage, moved_at) where stage = 'skipped';
create index delivery_done on delivery (file_id, seq) where stage = 'done';
create index delivery_moved on delivery (moved_at, seq);
create index folder_watched on folder (id) where watched = 1;
create index folder_settling on folder (log, listing) where settling = 1;
create index folder_unlisted on folder (log, listing desc, watched desc, id) where listing <> 'done';

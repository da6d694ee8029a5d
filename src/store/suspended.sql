-- A folder that leaves the configuration is suspended first: it stays known for a day, so that nothing is lost if it
-- comes back.
alter table folder add column suspended_at integer;             -- a watched folder that no rule names since then
alter table folder add column paused integer not null default 0; -- 1: it lies below suspended folders only; it is not listed
-- What counted in a watched folder when it was last taken over; null: not watched, or written by an older program.
alter table folder add column recursive integer;
alter table folder add column shortcuts integer;
drop index folder_unlisted;
create index folder_unlisted on folder (log, listing desc, watched desc, id) where listing <> 'done' and paused = 0;
create index folder_log on folder (log) where paused = 0;

-- Names under which the configuration may know a folder, such as 'root', and what Drive said they are.
create table folder_alias (
    alias     text not null primary key,
    folder_id text not null
) strict;

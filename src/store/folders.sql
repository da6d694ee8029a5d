-- Work on folders is rows: what is listed next, when, and what has gone wrong. What Drive has to be asked is rows as well.
-- To have all folders of a log listed again is one number in the row of the log: each folder knows the round of its log
-- in which it was listed last.
drop index folder_listing;
drop index folder_unlisted;
drop index folder_settling;
drop index folder_log;
alter table folder drop column settling;
alter table folder add column resource_key text;
alter table folder add column round integer not null default 0;    -- the round of its log in which it was listed last
alter table folder add column marked integer not null default 0;   -- counts how often it was marked to be listed
alter table folder add column looks integer not null default 0;    -- how often it is still listed again, since listings lag
alter table folder add column deep integer not null default 0;     -- 1: when it has been listed, the folders in it are listed
alter table folder add column attempt integer not null default 0;  -- failed listings in a row
alter table folder add column retry_at integer not null default 0; -- it is not listed before this
alter table folder add column problem text;                        -- why it cannot be watched or listed, for the user
alter table folder add column problem_since integer;
create index folder_work on folder (listing, retry_at) where paused = 0;
create index folder_round on folder (log, round) where paused = 0;
create index folder_problem on folder (problem_since) where problem_since is not null;

alter table change_log rename column listed_at to read_at;         -- when the last complete read of the log began
alter table change_log add column round integer not null default 0;        -- folders of an earlier round are compared
alter table change_log add column urgent_round integer not null default 0; -- folders of an earlier round may lack changes
-- Drive does not let the account read the log, such as that of a shared drive that it is no member of. The page token is
-- empty, and the folders are listed instead.
alter table change_log add column closed text;
alter table change_log add column closed_since integer;

-- Items that `files.get` has to be asked for.
create table question (
    file_id      text not null primary key,
    resource_key text,
    why          text not null,
    attempt      integer not null,
    retry_at     integer not null,
    asked_since  integer not null
) strict;
create index question_due on question (retry_at);

alter table shortcut add column target_key text;

-- Items that a log has told of while folders were still to be noted, and that lay in no known folder. If one is found in
-- such a folder, it came after the first run began.
create table passed (
    file_id text not null primary key
) strict;

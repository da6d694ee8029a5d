-- The newest content of a file is the one that arrived last, or that came back last.
alter table delivery add column overtaken integer not null default 0;  -- 1: a later content of the file is known
update delivery set overtaken = 1
    where file_id in (select file_id from delivery group by file_id having count(*) > 1)
    and seq < (select max(seq) from delivery as later where later.file_id = delivery.file_id);

-- What a skipped delivery depended on, and when Drive is asked about its file again.
alter table delivery add column cause text;
alter table delivery add column look_at integer;
update delivery set cause = 'permission', look_at = moved_at
    where stage = 'skipped' and reason = 'its owner does not allow downloads';
update delivery set cause = 'refused', look_at = moved_at
    where stage = 'skipped' and (reason like '%(cannotDownloadFile)%' or reason like '%(insufficientFilePermissions)%');
update delivery set cause = 'setting'
    where stage = 'skipped' and reason like '%`on_update` is "ignore"';
update delivery set cause = 'setting'
    where stage = 'failed' and reason like '%(cannotDownloadAbusiveFile)%';
create index delivery_setting on delivery (watched_id) where cause = 'setting';
create index delivery_look on delivery (look_at) where look_at is not null;

-- The settings of a watched folder that decide what is wanted, as they were last time.
create table folder_setting (
    folder_id text not null primary key,
    filters   text not null,                 -- which files
    on_update text not null                  -- which contents
) strict;

-- The number of the last arrival. Whoever takes numbers holds this row to the end of the transaction.
create table arrival (last integer not null) strict;
insert into arrival (last) select coalesce(max(seq), 0) from delivery;

-- How many deliveries are in each stage: counting a million of them takes a tenth of a second.
create table delivery_count (
    stage text not null primary key,
    count integer not null
) strict;
insert into delivery_count (stage, count)
    values ('unready', 0), ('pending', 0), ('downloading', 0), ('publishing', 0), ('done', 0), ('failed', 0),
           ('skipped', 0), ('superseded', 0), ('existing', 0);
update delivery_count set count = (select count(*) from delivery where delivery.stage = delivery_count.stage);
create trigger delivery_comes after insert on delivery begin
    update delivery_count set count = count + 1 where stage = new.stage;
end;
create trigger delivery_goes after delete on delivery begin
    update delivery_count set count = count - 1 where stage = old.stage;
end;
create trigger delivery_moves after update of stage on delivery when old.stage <> new.stage begin
    update delivery_count set count = count - 1 where stage = old.stage;
    update delivery_count set count = count + 1 where stage = new.stage;
end;

-- What is kept for a while only: contents that are not the newest of their file, and files that are gone from Drive.
alter table delivery add column gone_at integer;                       -- since when Drive does not show the file
create index delivery_history on delivery (moved_at, seq) where overtaken = 1;
create index delivery_gone on delivery (gone_at, seq) where gone_at is not null;

-- The latest files at a destination, which are looked for when its marker is missing.
create index delivery_placed on delivery (destination, moved_at) where stage = 'done';

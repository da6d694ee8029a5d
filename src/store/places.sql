-- 1: the file lay there before anything was delivered to its place. It is its owner's, and is not replaced.
alter table delivery add column place_adopted integer not null default 0;
-- Whose a place is.
create index delivery_place on delivery (place) where place is not null;

-- By what the destinations know this database.
create table ledger (id text not null) strict;
insert into ledger (id) values (lower(hex(randomblob(16))));

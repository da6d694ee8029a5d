-- What the last audit has found. One row at most.
create table audit (
    began_at integer not null,
    report   text not null
) strict;

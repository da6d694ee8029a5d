-- What each destination is known by: the text in the marker file of its hidden folder.
create table destination (
    root   text not null primary key,
    marker text not null
) strict;

-- The account that page tokens and channels belong to: each account has change logs of its own. One row at most.
create table account (
    id    text not null primary key,
    name  text not null,
    login text not null                      -- the credentials that were last seen to belong to it
) strict;

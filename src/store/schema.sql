-- Ids are text, times are milliseconds since 1970, and there is nothing that only SQLite knows.

create table change_log (
    log         text not null primary key,   -- 'user', or 'drive:' and the shared drive's id
    page_token  text not null,               -- everything before it is in the tables below
    listed_at   integer,                     -- last time the log was read to its end
    compared_at integer                      -- when all folders were last marked to be listed and compared
) strict;

create table folder (
    id          text not null primary key,
    log         text not null,
    parent_id   text,                        -- may be unknown to us: that is where the watched part ends
    name        text not null,
    watched     integer not null default 0,  -- 1: named in the configuration
    listing     text not null,               -- 'done', or what to do with what is found: 'deliver', 'note'
    settling    integer not null default 0   -- 1: noted, but the log has not been read to its end since
) strict;
create index folder_parent on folder (parent_id);
create index folder_listing on folder (log, listing);

create table delivery (
    id            text not null primary key,
    seq           integer not null,          -- order of arrival
    file_id       text not null,
    revision      text not null,
    log           text not null,
    watched_id    text not null,             -- the watched folder it was found below
    name          text not null,
    mime_type     text not null,
    size          integer,
    sha256        text,
    sha1          text,
    md5           text,
    created_at    integer,                   -- in Drive
    modified_at   integer,                   -- in Drive
    resource_key  text,
    destination   text not null,
    wanted        text not null,
    on_update     text not null,
    stage         text not null,
    attempt       integer not null default 0,
    run_at        integer not null,
    reason        text,
    seen_at       integer not null,
    moved_at      integer not null,
    place         text,                      -- path below the destination, from the stage 'publishing' on
    place_inode   integer,
    place_size    integer,
    place_mtime   integer,                   -- nanoseconds
    place_sum     text,
    place_replaces integer not null default 0,
    unique (file_id, revision)
) strict;
create index delivery_due on delivery (run_at, seq) where stage = 'pending';
create index delivery_stage on delivery (stage, moved_at);
create unique index delivery_seq on delivery (seq);

create table channel (
    id          text not null primary key,
    log         text not null,
    address     text not null,
    token_hash  text not null,
    resource_id text,
    state       text not null,
    created_at  integer not null,
    expires_at  integer not null
) strict;

-- Shortcuts in watched folders, and what they point at: a change of a target does not change its shortcuts.
create table shortcut (
    id        text not null primary key,
    target_id text not null,
    parent_id text not null,                 -- the known folder that the shortcut lies in
    name      text not null
) strict;
create index shortcut_target on shortcut (target_id);
create index shortcut_parent on shortcut (parent_id);

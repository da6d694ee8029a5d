-- What an earlier program left: a row for each channel that Drive refused.
delete from channel where state = 'ended' and resource_id is null;
create index channel_log on channel (log, state, created_at);

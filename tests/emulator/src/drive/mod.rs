//! What the emulated Drive holds: accounts, files in folders with their permissions, change logs, channels. Knows no
//! HTTP, no OAuth and no faults.

pub(crate) mod account;
pub(crate) mod channel;
pub(crate) mod clock;
pub(crate) mod content;
pub(crate) mod edit;
pub(crate) mod extras;
pub(crate) mod ids;
pub(crate) mod late;
pub(crate) mod log;
pub(crate) mod mime;
pub(crate) mod node;
pub(crate) mod permit;
pub(crate) mod refusal;
pub(crate) mod report;
pub(crate) mod role;
pub(crate) mod shared_drive;
pub(crate) mod sharing;
pub(crate) mod state;
pub(crate) mod tree;

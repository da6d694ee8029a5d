//! What the emulated Drive holds: files in folders, change logs, channels. Knows no HTTP.

pub(crate) mod channel;
pub(crate) mod clock;
pub(crate) mod content;
pub(crate) mod edit;
pub(crate) mod extras;
pub(crate) mod ids;
pub(crate) mod log;
pub(crate) mod mime;
pub(crate) mod node;
pub(crate) mod report;
pub(crate) mod state;
pub(crate) mod tree;

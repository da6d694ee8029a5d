//! The sync engine: reads change logs and folder listings into the ledger. Push, poll, start, `sync` and a person's
//! request run the same step. It downloads nothing; it leaves deliveries and wakes who does.

pub mod account;
mod asking;
mod brought;
mod calls;
mod contents;
pub mod decide;
pub mod decision;
mod desk;
mod engine;
mod error;
mod follower;
pub mod heard;
mod jobs;
mod known;
mod listing;
mod pace;
mod reading;
pub mod rules;
mod settings;
mod shortcuts;
mod source;
mod targets;
pub mod tree;
mod waits;
mod watched;

pub use calls::Calls;
pub use engine::Engine;
pub use error::Error;
pub use jobs::Tally;
pub use settings::{Config, Wanted};
pub use waits::Waits;

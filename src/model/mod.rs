//! The words of the trade: values that every room speaks in. They know no SQL, no HTTP, no disk and no clock.

pub mod account;
pub mod change;
pub mod channel;
pub mod delivery;
pub mod file;
pub mod id;
pub mod keys;
pub mod name;
pub mod path;

pub use account::Account;
pub use change::{Change, ChangeLog, Entry, Page};
pub use channel::{Channel, ChannelState};
pub use delivery::{Delivery, Stage};
pub use file::{Checksums, File, Kind};
pub use id::{
    AccountId, ChannelId, ChannelToken, DeliveryId, FileId, LoginId, PageToken, ResourceId, RevisionId,
};
pub use keys::ResourceKeys;
pub use name::{Naming, Refusal};
pub use path::RelativePath;

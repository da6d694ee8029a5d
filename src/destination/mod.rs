//! Where delivered files go. Takes only a `VerifiedPart`; overwrites nothing that it did not put there itself.

pub mod local;

pub use local::{Error, Local, Settled};

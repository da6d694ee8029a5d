//! Everything one emulator remembers, behind one lock: the Drive, and around it the tokens, faults and disturbances that
//! the Drive itself knows nothing of.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::disturbance::Disturbances;
use crate::drive::channel::Errand;
use crate::drive::clock::Clock;
use crate::drive::state::State;
use crate::fault::Faults;
use crate::oauth::identities::Identities;
use crate::oauth::tokens::Tokens;

/// Reads as the Drive does: nearly everything that is asked is about it.
pub(crate) struct World {
    drive: State,
    pub(crate) tokens: Tokens,
    pub(crate) identities: Identities,
    pub(crate) faults: Faults,
    pub(crate) disturbances: Disturbances,
    pub(crate) service: Service,
}

/// How the emulator serves when nothing in particular fails.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Media bytes per second and connection.
    pub(crate) rate: Option<u64>,
    /// A round trip: before each connection is served, and before each answer.
    pub(crate) latency: Duration,
    pub(crate) access_token_lifetime: Duration,
    /// Of the refresh tokens that logins give; `None`: without an end.
    pub(crate) refresh_token_lifetime: Option<Duration>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            rate: None,
            latency: Duration::ZERO,
            access_token_lifetime: Duration::from_secs(3599),
            refresh_token_lifetime: None,
        }
    }
}

impl World {
    pub(crate) fn new(clock: Arc<Clock>, outbox: UnboundedSender<Errand>) -> Self {
        Self {
            drive: State::new(clock, outbox),
            tokens: Tokens::default(),
            identities: Identities::default(),
            faults: Faults::default(),
            disturbances: Disturbances::default(),
            service: Service::default(),
        }
    }

    /// As new.
    pub(crate) fn reset(&mut self) {
        self.drive.reset();
        self.tokens = Tokens::default();
        self.identities = Identities::default();
        self.faults = Faults::default();
        self.disturbances = Disturbances::default();
        self.service = Service::default();
    }
}

impl Deref for World {
    type Target = State;

    fn deref(&self) -> &State {
        &self.drive
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.drive
    }
}

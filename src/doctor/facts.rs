//! Everything that the judges know.

use std::path::PathBuf;

use super::database::Database;
use super::disks;
use super::drive::Google;
use super::finding::Told;
use super::ports::Port;
use super::running::Daemon;
use super::service::Service;
use super::trip::{Trip, public_address};
use crate::config::{Problems, Settings};

/// What was seen and heard.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) problems: Option<&'a Problems>,
    pub(super) service: Service,
    pub(super) daemon: Daemon,
    pub(super) database: Database,
    pub(super) google: Google,
    pub(super) destinations: Vec<(PathBuf, Told)>,
    /// `webhook.listen` and `admin.listen`.
    pub(super) ports: [Port; 2],
    pub(super) address: Result<Option<String>, String>,
    pub(super) trip: Trip,
}

impl<'a> Facts<'a> {
    /// Nothing but the configuration.
    pub(super) fn none(settings: &'a Settings, problems: Option<&'a Problems>) -> Self {
        Self {
            settings,
            problems,
            service: Service::of(settings),
            daemon: Daemon::Silent,
            database: Database::default(),
            google: Google::unasked(),
            destinations: Vec::new(),
            ports: [Port::Free, Port::Free],
            address: Ok(None),
            trip: Trip::Nowhere,
        }
    }

    /// What Google says.
    pub(super) async fn online(settings: &'a Settings) -> Self {
        Self { google: Google::ask(settings).await, ..Self::none(settings, None) }
    }

    /// Everything.
    pub(super) async fn gather(settings: &'a Settings) -> Self {
        let daemon = Daemon::ask(settings).await;
        let database = match &daemon {
            Daemon::Running(_) => Database::default(),
            Daemon::Silent | Daemon::Unclear(_) => Database::look(settings).await,
        };
        let facts = Self::online(settings).await;
        let destinations = disks::look(settings, &facts.service).await;
        let ports = [Port::look(settings.receiver.listen), Port::look(settings.admin.listen)];
        let address = public_address(settings).await;
        let trip = Trip::make(settings, address.as_ref().ok().and_then(Option::as_deref), &daemon).await;
        Self { daemon, database, destinations, ports, address, trip, ..facts }
    }
}

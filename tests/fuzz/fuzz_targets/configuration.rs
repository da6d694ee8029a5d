//! The text of a configuration file.

#![no_main]

use std::path::Path;
use std::sync::Arc;

use gdrive_webhook::config::{Settings, load_from, show};
use gdrive_webhook::model::channel::Address;
use gdrive_webhook::receiver::Receiver;
use gdrive_webhook::task::wake_up;
use libfuzzer_sys::fuzz_target;

fn load(text: &str) -> Result<Settings, String> {
    load_from(text, Path::new("a.toml"), Path::new("/here"), []).map_err(|problems| {
        assert!(problems.count() > 0);
        problems.to_string()
    })
}

fuzz_target!(|text: &str| {
    let settings = match load(text) {
        Ok(settings) => settings,
        Err(told) => {
            assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{told:?}");
            return;
        }
    };
    let shown = show(&settings);
    match load(&shown) {
        Ok(again) => assert_eq!(show(&again), shown),
        Err(told) => panic!("what is shown cannot be loaded: {told}\n{shown}"),
    }
    assert!(!settings.folders.is_empty());
    assert!(settings.folders.iter().all(|folder| folder.destination.is_absolute()));
    let public = match &settings.channel.address {
        Address::Nowhere => None,
        Address::Fixed(address) => Some(address),
        Address::Ngrok { api, .. } => Some(api),
    };
    for address in public.into_iter().chain([&settings.drive.api_url]) {
        assert!(address.starts_with("https://") || address.starts_with("http://"), "{address:?}");
        assert!(!address.contains(|c: char| c.is_whitespace() || c.is_control()), "{address:?}");
        assert!(
            address.split('/').nth(2).is_some_and(|host| !host.contains('@')),
            "{address:?} has a password"
        );
    }
    // A path that cannot be served stops the program at its start.
    let (sync, _wakeups) = wake_up();
    let (keeper, _keeper_wakeups) = wake_up();
    let (registry, counters, challenges) = Default::default();
    let receiver = Receiver { registry, sync, keeper, counters, challenges };
    drop(receiver.router(&settings.receiver));
});

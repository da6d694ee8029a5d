//! From the configuration as written to the configuration as meant. Every value is looked at, whatever is wrong with
//! the others.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bases::Bases;
use super::file::{Places, Written};
use super::keys::{self, FOLDER};
use super::problem::{Lines, Place, Problems, quoted};
use super::raw::{self, Raw};
use super::{Settings, values};
use crate::http::checked;
use crate::model::channel::Address;
use crate::telemetry::log::{self, Format};
use crate::{admin, auth, channel, delivery, download, drive, receiver, store, sync};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// Drive grants a channel on a change log no more than this.
const LONGEST_CHANNEL: Duration = Duration::from_hours(7 * 24);
/// Longer than anybody means.
const FOREVER: Duration = Duration::from_hours(24 * 3660);
const CONCURRENCY: RangeInclusive<i64> = 1..=64;
const STREAMS: RangeInclusive<i64> = 1..=16;
const DEFAULT_GRACE: Duration = Duration::from_secs(20);
/// Where an ngrok agent answers unless it is told otherwise.
pub(super) const NGROK_API: &str = "http://127.0.0.1:4040";

/// Checks everything. What is wrong is left out of the settings, with a problem each.
pub(super) fn settings(raw: &Raw, written: Written, source: &Path, bases: &Bases) -> (Settings, Problems) {
    let mut check = Check {
        places: written.places,
        problems: written.problems,
        source,
        bases,
        state_dir: bases.state.clone(),
    };
    if let Some(text) = check.value("state.dir", raw.state.dir.as_deref(), values::path) {
        check.state_dir = bases.read(&text);
    }
    let grace = raw.shutdown_grace.as_deref();
    let settings = Settings {
        source: source.to_owned(),
        state_dir: check.state_dir.clone(),
        is_named: true,
        ignored: None,
        shutdown_grace: check.value("shutdown_grace", grace, values::duration).unwrap_or(DEFAULT_GRACE),
        google: check.google(&raw.google),
        drive: check.drive(&raw.google),
        receiver: check.receiver(&raw.webhook),
        channel: check.channel(raw),
        sync: check.sync(&raw.sync),
        folders: raw
            .folder
            .iter()
            .enumerate()
            .filter_map(|(index, folder)| check.folder(index, folder))
            .collect(),
        download: check.download(&raw.download),
        delivery: check.delivery(&raw.download),
        store: check.store(&raw.state),
        admin: check.admin(&raw.admin),
        log: check.log(&raw.log),
        lines: Lines::default(),
    };
    check.modes_agree(&raw.folder);
    check.folders_differ(&settings.folders);
    check.together(&settings);
    (Settings { lines: Lines(check.places), ..settings }, check.problems)
}

/// What was found on the way.
pub(super) struct Check<'a> {
    pub(super) places: Places,
    pub(super) problems: Problems,
    source: &'a Path,
    pub(super) bases: &'a Bases,
    state_dir: PathBuf,
}

impl Check<'_> {
    /// Reads the value of a key, if there is one.
    fn value<T>(
        &mut self,
        path: &str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value_at(path, path, text, read)
    }

    pub(super) fn value_at<T>(
        &mut self,
        key: &str,
        kept_as: &str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = text?;
        match read(text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.wrong(key, kept_as, &format!("{} {what}", quoted(text)));
                None
            }
        }
    }

    pub(super) fn wrong(&mut self, key: &str, kept_as: &str, what: &str) {
        let place = self.place(kept_as);
        let want = keys::find(key).map_or("something else", |key| key.want);
        self.problems.add(place, format!("{key}: {what}; write {want}"));
    }

    pub(super) fn place(&self, kept_as: &str) -> Place {
        self.places.get(kept_as).cloned().unwrap_or_else(|| Place::File(self.source.to_owned()))
    }

    fn google(&mut self, raw: &raw::Google) -> auth::Config {
        let default = auth::Config::default();
        let user = |text: &str| {
            if text.contains('@') {
                Ok(text.to_owned())
            } else {
                Err("is not the address of a user".to_owned())
            }
        };
        let credentials = self.value("google.credentials", raw.credentials.as_deref(), values::path);
        let token = self.value("google.token", raw.token.as_deref(), values::path);
        auth::Config {
            credentials: credentials.map(|text| self.bases.secret(&text)),
            token: self.state_dir.join(token.map_or(default.token, PathBuf::from)),
            impersonate: self.value("google.impersonate", raw.impersonate.as_deref(), user),
        }
    }

    fn drive(&mut self, raw: &raw::Google) -> drive::Config {
        let api_url = self.value("google.api_url", raw.api_url.as_deref(), checked);
        api_url.map_or_else(drive::Config::default, |api_url| drive::Config { api_url })
    }

    fn receiver(&mut self, raw: &raw::Webhook) -> receiver::Config {
        let default = receiver::Config::default();
        let site_verification = self.value(
            "webhook.site_verification",
            raw.site_verification.as_deref(),
            values::site_verification,
        );
        receiver::Config {
            listen: self
                .value("webhook.listen", raw.listen.as_deref(), values::address)
                .unwrap_or(default.listen),
            path: self
                .value("webhook.path", raw.path.as_deref(), values::webhook_path)
                .unwrap_or(default.path),
            site_verification,
        }
    }

    fn channel(&mut self, raw: &Raw) -> channel::Config {
        let default = channel::Config::default();
        let path = raw.webhook.path.clone().unwrap_or_else(|| receiver::Config::default().path);
        let lifetime = |text: &str| match values::duration_within(text, SECOND, LONGEST_CHANNEL) {
            Err(what) if what == "is too long" => Err("is longer than Drive grants".to_owned()),
            other => other,
        };
        let webhook = &raw.webhook;
        let ngrok_api = self.value("webhook.ngrok_api", webhook.ngrok_api.as_deref(), values::http_address);
        let listen = webhook.listen.as_deref().and_then(|text| values::address(text).ok());
        let listen = listen.unwrap_or_else(|| receiver::Config::default().listen);
        let address = match webhook.public_url.as_deref() {
            Some("ngrok") => Address::Ngrok {
                api: ngrok_api.unwrap_or_else(|| NGROK_API.to_owned()),
                port: listen.port(),
                path,
            },
            text => match self.value("webhook.public_url", text, checked) {
                Some(url) => {
                    self.is_bare(&url, &path);
                    Address::Fixed(format!("{url}{path}"))
                }
                None => Address::Nowhere,
            },
        };
        let renew_before =
            self.value("channel.renew_before", raw.channel.renew_before.as_deref(), values::duration);
        channel::Config {
            address,
            lifetime: self
                .value("channel.lifetime", raw.channel.lifetime.as_deref(), lifetime)
                .unwrap_or(default.lifetime),
            renew_before: renew_before.unwrap_or(default.renew_before),
        }
    }

    /// Whoever pastes the whole address that Google is to call has the path twice, and nobody listens there.
    fn is_bare(&mut self, url: &str, path: &str) {
        let path = path.trim_end_matches('/');
        let Some(base) = url.strip_suffix(path).filter(|_| !path.is_empty()) else { return };
        let what = format!(
            "webhook.public_url: {} ends with webhook.path, which is added to it: Google would call {url}{path}; write \"{base}\". \
             Behind a proxy that takes this part of the address off, keep it, and give webhook.path another value, such as \"/google\"",
            quoted(url)
        );
        self.problems.add(self.place("webhook.public_url"), what);
    }

    fn sync(&mut self, raw: &raw::Sync) -> sync::Config {
        let default = sync::Config::default();
        let from = |least| move |text: &str| values::duration_within(text, least, FOREVER);
        sync::Config {
            poll: self.value("sync.poll", raw.poll.as_deref(), from(SECOND)).unwrap_or(default.poll),
            reconcile: self
                .value("sync.reconcile", raw.reconcile.as_deref(), from(MINUTE))
                .unwrap_or(default.reconcile),
            waits: default.waits,
        }
    }

    fn download(&mut self, raw: &raw::Download) -> download::Config {
        let default = download::Config::default();
        let stall = |text: &str| values::duration_within(text, SECOND, FOREVER);
        download::Config {
            streams: self.count("download.streams", raw.streams, STREAMS, default.streams),
            stall: self.value("download.stall", raw.stall.as_deref(), stall).unwrap_or(default.stall),
            acknowledge_abuse: raw.acknowledge_abuse.unwrap_or(default.acknowledge_abuse),
            rate_limit: self
                .value("download.rate_limit", raw.rate_limit.as_deref(), values::size)
                .unwrap_or(default.rate_limit),
        }
    }

    fn count(&mut self, key: &str, raw: Option<i64>, range: RangeInclusive<i64>, default: usize) -> usize {
        match raw {
            Some(number) if range.contains(&number) => number as usize,
            Some(number) => {
                self.wrong(key, key, &format!("{number} is out of range"));
                default
            }
            None => default,
        }
    }

    fn delivery(&mut self, raw: &raw::Download) -> delivery::Config {
        let default = delivery::Config::default();
        let concurrency =
            self.count("download.concurrency", raw.concurrency, CONCURRENCY, default.concurrency);
        let reserve = self.value("download.reserve", raw.reserve.as_deref(), values::size);
        delivery::Config { concurrency, reserve: reserve.unwrap_or(default.reserve) }
    }

    fn store(&mut self, raw: &raw::State) -> store::Config {
        let here = self.state_dir.clone();
        let file = |text: &str| {
            text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path).to_owned())
        };
        let sqlite = |text: &str| match file(text).as_deref() {
            Some("") => Err("names no file".to_owned()),
            Some(path) if path.starts_with(':') => {
                Err("is a database in memory, which is lost when the program ends".to_owned())
            }
            Some(path) if values::path(path).is_err() => values::path(path),
            Some(path) if path.contains(|c: char| c.is_control() || matches!(c, '?' | '#' | '%')) => {
                Err("contains ?, #, % or a control character, which mean something else in such an address"
                    .to_owned())
            }
            // By components: two slashes at the beginning would not be read as part of the path again.
            Some(path) => {
                Ok(format!("sqlite:{}", here.join(path).components().collect::<PathBuf>().display()))
            }
            None if text.starts_with("postgres") => Err("is not supported by this version".to_owned()),
            None => Err("is not a kind of database that this version knows".to_owned()),
        };
        let default = store::Config::default().url;
        let url = self.value("state.url", Some(raw.url.as_deref().unwrap_or(&default)), sqlite);
        url.map_or_else(store::Config::default, |url| store::Config { url })
    }

    fn admin(&mut self, raw: &raw::Admin) -> admin::Config {
        let default = admin::Config::default();
        let token_file = self.value("admin.token_file", raw.token_file.as_deref(), values::path);
        admin::Config {
            listen: self
                .value("admin.listen", raw.listen.as_deref(), values::address)
                .unwrap_or(default.listen),
            token_file: token_file.map(|text| self.bases.secret(&text)),
        }
    }

    fn log(&mut self, raw: &raw::Log) -> log::Config {
        let default = log::Config::default();
        let level = |text: &str| {
            log::check_level(text).map(|()| text.to_owned()).map_err(|_| "is not a log level".to_owned())
        };
        let format = |text: &str| match text {
            "auto" => Ok(Format::Auto),
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("is not a log format".to_owned()),
        };
        log::Config {
            level: self.value("log.level", raw.level.as_deref(), level).unwrap_or(default.level),
            format: self.value("log.format", raw.format.as_deref(), format).unwrap_or(default.format),
        }
    }

    /// What is right alone and wrong together.
    fn together(&mut self, settings: &Settings) {
        if !self.places.contains_key(FOLDER) {
            let place = Place::File(self.source.to_owned());
            self.problems
                .add(place, "there is no folder to watch; write [[folder]] with an id and a destination");
        }
        if let Some(host) = unreachable(settings) {
            let place = self.place("webhook.public_url");
            let what = "Google cannot reach it; write the address that leads here from the internet, \"ngrok\", or \
                        nothing, so that only polling finds new files";
            self.problems.add(place, format!("webhook.public_url: {host} is this machine itself: {what}"));
        }
        let (public, private) = (settings.receiver.listen, settings.admin.listen);
        let overlap =
            public.ip() == private.ip() || public.ip().is_unspecified() || private.ip().is_unspecified();
        if public.port() == private.port() && public.port() != 0 && overlap {
            self.wrong(
                "admin.listen",
                "admin.listen",
                &format!("{private} is taken by webhook.listen, {public}"),
            );
        }
        if !private.ip().is_loopback() && settings.admin.token_file.is_none() {
            let place = self.place("admin.listen");
            let what = "can be reached from other machines; set admin.token_file, or use a loopback address such as \"127.0.0.1:8081\"";
            self.problems.add(place, format!("admin.listen: {private} {what}"));
        }
        let receiver = &settings.receiver;
        if receiver.site_verification.as_ref().is_some_and(|name| receiver.path == format!("/{name}")) {
            let what = format!("{} is the path of webhook.site_verification", quoted(&receiver.path));
            self.wrong("webhook.path", "webhook.path", &what);
        }
    }
}

/// The host of a public address that leads to this machine's loopback, if Drive is Google's.
fn unreachable(settings: &Settings) -> Option<String> {
    let is_google = settings.drive == drive::Config::default();
    let url = settings.channel.address.fixed().filter(|_| is_google)?;
    let host = url.split_once("://")?.1.split('/').next()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    crate::http::is_loopback(name).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{FOLDER, load, problems};

    #[test]
    fn a_public_address_that_has_the_path_already_is_refused_with_what_to_write_instead() {
        let webhook = |text: &str| format!("[webhook]\n{text}\n");
        for (text, base) in [
            ("public_url = \"https://x.example/webhook\"", "https://x.example"),
            ("public_url = \"https://x.example/a/webhook/\"", "https://x.example/a"),
            ("public_url = \"https://x.example/b/hook\"\npath = \"/b/hook\"", "https://x.example"),
            ("public_url = \"https://x.example/hook\"\npath = \"/hook/\"", "https://x.example"),
        ] {
            let said = problems(&webhook(text));
            assert!(said[0].starts_with("a.toml:5: webhook.public_url: \"https://x.example/"), "{said:?}");
            let remedy = format!("; write \"{base}\". Behind a proxy");
            assert!(said[0].contains(&remedy) && said.len() == 1, "{said:?}");
        }
        for (text, called) in [
            ("public_url = \"https://x.example/mywebhook\"", "https://x.example/mywebhook/webhook"),
            ("public_url = \"https://x.example/webhook/a\"", "https://x.example/webhook/a/webhook"),
        ] {
            let settings = load(&format!("{FOLDER}{}", webhook(text)), &[]).unwrap();
            assert_eq!(settings.channel.address.fixed(), Some(called));
        }
    }
}

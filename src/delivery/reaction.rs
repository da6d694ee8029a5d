//! What is done after a failed attempt. Values in, a value out.

use std::io;
use std::time::Duration;

use crate::destination;
use crate::download;
use crate::drive::{self, Fault};
use crate::model::delivery::Cause;
use crate::retry::{Class, Policy, Verdict};
use crate::spool::Suspect;

/// Between attempts at one file. There is no last attempt: temporary failures pass, and a waiting video is not lost.
const ATTEMPTS: Policy =
    Policy { base: Duration::from_secs(2), cap: Duration::from_mins(10), attempts: None };
/// A new content is in the change log within seconds; then this delivery is overtaken.
const CHANGED: Policy = Policy { base: Duration::from_secs(3), cap: Duration::from_mins(10), attempts: None };
/// A file that is complete and could not be published: somebody has to change something, or has done so a moment ago.
const PUBLISHING: Policy =
    Policy { base: Duration::from_secs(10), cap: Duration::from_mins(10), attempts: None };
/// How often a full or read-only disk is checked again; a check makes no call to Drive.
pub(super) const DISK_WAIT: Duration = Duration::from_secs(30);
/// How long to wait for a disk.
pub(super) const DISK_PATIENCE: Duration = Duration::from_secs(10);
/// Refusals of a file's bytes until it is skipped. The waits between them add up to about a day: ten that double from 5 s,
/// then one an hour, each of them shorter by a random part of up to a half.
const REFUSALS: u32 = 42;
/// Begins the reason of a delivery whose bytes were wrong once.
const WRONG_ONCE: &str = "wrong content, fetched once more";

/// What is done with the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Again after this long.
    Again {
        /// The wait.
        after: Duration,
        /// Whether the attempt counts, so that the next wait is longer.
        counts: bool,
        /// Why it waits.
        reason: String,
    },
    /// Again when the destination can be used again, and nothing else goes there until then.
    Hold(String),
    /// Again with the next run of the program; nothing is wrong.
    Release,
    /// It fails permanently; a person should look. With a cause, it is tried again when that has changed.
    Fail(Option<Cause>, String),
    /// It cannot be downloaded. With a cause, it is looked at again.
    Skip(Option<Cause>, String),
    /// It is superseded.
    Supersede(String),
}

/// Decides after a download failed. `attempt` counts the failures before this one.
pub fn after_download(error: &download::Error, attempt: u32, reason: Option<&str>, jitter: f64) -> Reaction {
    match error {
        download::Error::Stopped => Reaction::Release,
        download::Error::Replaced | download::Error::Gone => Reaction::Supersede(error.to_string()),
        download::Error::NotAllowed => Reaction::Skip(Some(Cause::Permission), error.to_string()),
        download::Error::Refused(error) | download::Error::Drive(error) => {
            after_refusal(error, attempt, reason, jitter)
        }
        download::Error::Changed(_) => again(CHANGED, attempt, None, error.to_string(), jitter),
        download::Error::Short | download::Error::NoRange | download::Error::WriterGone => {
            again(ATTEMPTS, attempt, None, error.to_string(), jitter)
        }
        download::Error::WrongContent { why, suspect } => after_wrong(why, *suspect, attempt, reason, jitter),
        download::Error::Disk(error) => after_disk(error, &error.to_string(), attempt, jitter),
    }
}

/// Drive gets one more chance. Bytes that have lain on the disk since an earlier run say nothing of what Drive gives.
fn after_wrong(why: &str, suspect: Suspect, attempt: u32, reason: Option<&str>, jitter: f64) -> Reaction {
    let once = reason.filter(|reason| reason.starts_with(WRONG_ONCE));
    match (suspect, once) {
        (Suspect::Drive, Some(_)) => Reaction::Fail(None, format!("the content was wrong twice: {why}")),
        (Suspect::Drive, None) => again(CHANGED, attempt, None, format!("{WRONG_ONCE}: {why}"), jitter),
        (Suspect::Disk, Some(once)) => again(CHANGED, attempt, None, once.to_owned(), jitter),
        (Suspect::Disk, None) => {
            let reason =
                format!("the bytes of an earlier attempt were damaged, and are fetched again: {why}");
            again(CHANGED, attempt, None, reason, jitter)
        }
    }
}

/// Decides after the destination could not be used.
pub fn after_destination(error: &destination::Error, attempt: u32, jitter: f64) -> Reaction {
    match error {
        destination::Error::Io { source, .. } => after_disk(source, &error.to_string(), attempt, jitter),
        destination::Error::NotMounted { .. }
        | destination::Error::InUse { .. }
        | destination::Error::NoRoom { .. } => Reaction::Hold(error.to_string()),
        destination::Error::PartGone { .. } => again(ATTEMPTS, attempt, None, error.to_string(), jitter),
        destination::Error::Taken { .. } | destination::Error::Changed { .. } => {
            Reaction::Fail(None, error.to_string())
        }
    }
}

/// Decides after a verified file could not be published, or not be made durable in its place: when the disk is checked, and
/// what is wrong with the whole destination.
pub fn after_publishing(error: &destination::Error, attempt: u32, jitter: f64) -> (Duration, Option<String>) {
    match after_destination(error, attempt, jitter) {
        Reaction::Hold(why) => (DISK_WAIT, Some(why)),
        Reaction::Again { .. }
        | Reaction::Release
        | Reaction::Fail(..)
        | Reaction::Skip(..)
        | Reaction::Supersede(_) => match PUBLISHING.decide(Class::Transient, attempt + 1, None, jitter) {
            Verdict::After(wait) => (wait, None),
            Verdict::GiveUp => (DISK_WAIT, None),
        },
    }
}

/// An error of the whole disk holds all deliveries to it. An error that may concern only this file, such as a name that the
/// file system does not accept, does not. `said`: the error with the file it is about.
fn after_disk(error: &io::Error, said: &str, attempt: u32, jitter: f64) -> Reaction {
    let of_this_file = |reason: String| again(ATTEMPTS, attempt, None, reason, jitter);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Reaction::Hold("the disk is full; free some space, or raise the quota".to_owned())
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            // Without an OS error code the text already explains the reason.
            let is_told = error.raw_os_error().is_none() && error.get_ref().is_some();
            let why = if is_told {
                error.to_string()
            } else {
                "the disk is read-only; mount it for writing".to_owned()
            };
            Reaction::Hold(why)
        }
        io::ErrorKind::TimedOut => {
            Reaction::Hold("the disk does not answer; check that its server is reachable".to_owned())
        }
        io::ErrorKind::PermissionDenied => of_this_file(format!("cannot write to the destination: {said}")),
        _ => of_this_file(format!("cannot use the destination: {said}")),
    }
}

/// Whether there is room for one more file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// Not for a file of this size; smaller ones may continue.
    TooLittle(String),
    /// For none.
    None(String),
}

/// Looks whether a file fits. All in bytes: `free` on the disk, `reserve` to stay free, `promised` to transfers that are
/// under way, `needed` for what is still missing of this file.
pub fn room(free: u64, reserve: u64, promised: u64, needed: u64) -> Room {
    const MIB: u64 = 1 << 20;
    if needed == 0 {
        return Room::Enough;
    }
    if free <= reserve {
        let reserve = reserve.div_ceil(MIB);
        return Room::None(format!(
            "the disk has no more than the {reserve} MiB free that download.reserve keeps; free some space"
        ));
    }
    if free - reserve.min(free) < promised.saturating_add(needed) {
        let needed = needed.div_ceil(MIB);
        return Room::TooLittle(format!(
            "{needed} MiB do not fit on the disk beside download.reserve; free some space"
        ));
    }
    Room::Enough
}

fn after_refusal(error: &drive::Error, attempt: u32, reason: Option<&str>, jitter: f64) -> Reaction {
    let said = error.to_string();
    match error.fault() {
        Fault::NotFound => Reaction::Supersede("the file is no longer in Drive".to_owned()),
        Fault::NotDownloadable => Reaction::Skip(None, said),
        Fault::Abusive => Reaction::Fail(Some(Cause::Setting), said),
        Fault::Connection
        | Fault::Unreadable
        | Fault::Server
        | Fault::LoginNeeded
        | Fault::Credentials
        | Fault::Database
        | Fault::Unauthorized
        | Fault::RateLimit
        | Fault::DailyLimit
        | Fault::FileQuota
        | Fault::Denied
        | Fault::NoBytes
        | Fault::Forbidden
        | Fault::PageToken
        | Fault::ChannelIdNotUnique
        | Fault::NotMember
        | Fault::Push
        | Fault::TooManyChannels
        | Fault::Range
        | Fault::BadRequest => {
            let class = error.class();
            // The first of its kind is the first, whatever else went wrong with this file before.
            let is_another = matches!(class, Class::FileQuota | Class::Configuration | Class::Permission)
                && reason != Some(&said);
            wait_out(error, if is_another { 0 } else { attempt }, said, jitter)
        }
    }
}

fn wait_out(error: &drive::Error, attempt: u32, said: String, jitter: f64) -> Reaction {
    let class = error.class();
    if class == Class::Permission && attempt + 1 >= REFUSALS {
        return Reaction::Skip(Some(Cause::Refused), said);
    }
    match ATTEMPTS.decide(class, attempt + 1, error.retry_after(), jitter) {
        Verdict::After(after) => {
            // A wait of all calls does not make the file's own waits longer.
            let counts = matches!(
                class,
                Class::Transient | Class::FileQuota | Class::Configuration | Class::Permission
            );
            Reaction::Again { after, counts, reason: said }
        }
        Verdict::GiveUp => Reaction::Fail(None, said),
    }
}

fn again(
    policy: Policy,
    attempt: u32,
    retry_after: Option<Duration>,
    reason: String,
    jitter: f64,
) -> Reaction {
    match policy.decide(Class::Transient, attempt + 1, retry_after, jitter) {
        Verdict::After(after) => Reaction::Again { after, counts: true, reason },
        Verdict::GiveUp => Reaction::Fail(None, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> download::Error {
        wrong_by(Suspect::Drive)
    }

    fn wrong_by(suspect: Suspect) -> download::Error {
        download::Error::WrongContent { why: "7 bytes came where Drive says 8".into(), suspect }
    }

    #[test]
    fn wrong_content_is_fetched_once_more_and_then_given_up() {
        let Reaction::Again { reason, counts: true, .. } = after_download(&wrong(), 0, None, 0.5) else {
            panic!()
        };
        assert!(
            matches!(after_download(&wrong(), 1, Some(&reason), 0.5), Reaction::Fail(None, why) if why.contains("7 bytes"))
        );
    }

    #[test]
    fn what_the_disk_has_spoiled_does_not_count_against_drive() {
        let mut reason = None;
        for error in [wrong_by(Suspect::Disk), wrong_by(Suspect::Disk), wrong(), wrong_by(Suspect::Disk)] {
            let Reaction::Again { reason: said, counts: true, .. } =
                after_download(&error, 1, reason.as_deref(), 0.5)
            else {
                panic!("{error}")
            };
            reason = Some(said);
        }
        assert!(matches!(after_download(&wrong(), 1, reason.as_deref(), 0.5), Reaction::Fail(None, _)));
    }

    #[test]
    fn hours_begin_with_one_whatever_went_wrong_before() {
        let body = br#"{"error":{"errors":[{"reason":"downloadQuotaExceeded"}]}}"#;
        let quota = download::Error::Drive(drive::Error::refusal("download", 403, body, None));
        let wait = |attempt, reason: Option<&str>| match after_download(&quota, attempt, reason, 1.0) {
            Reaction::Again { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(7, Some("the connection broke off")), Duration::from_hours(1));
        assert_eq!(wait(1, Some(&quota.to_string())), Duration::from_hours(2));
    }

    #[test]
    fn refused_bytes_are_asked_for_again_for_a_day_and_then_the_file_is_skipped() {
        for (status, reason) in
            [(403, "cannotDownloadFile"), (403, "insufficientFilePermissions"), (404, "notFound")]
        {
            let body = format!(r#"{{"error":{{"errors":[{{"reason":"{reason}"}}]}}}}"#);
            let refusal = drive::Error::refusal("download", status, body.as_bytes(), None).of_media();
            let refused = download::Error::Refused(refusal);
            // The first one is soon over, whatever went wrong before.
            let Reaction::Again { after, counts: true, reason } =
                after_download(&refused, 99, Some("no"), 1.0)
            else {
                panic!("{refused}")
            };
            assert_eq!(after, Duration::from_secs(5));
            for (jitter, least, most) in [(0.0, 16, 24), (1.0, 24, 40)] {
                let (mut waited, mut attempt) = (Duration::ZERO, 1);
                let cause = loop {
                    match after_download(&refused, attempt, Some(&reason), jitter) {
                        Reaction::Again { after, .. } => waited += after,
                        Reaction::Skip(cause, _) => break cause,
                        other => panic!("{other:?}"),
                    }
                    attempt += 1;
                    assert!(attempt < 1_000, "it has an end");
                };
                assert_eq!(cause, Some(Cause::Refused));
                let hours = waited.as_secs() / 3600;
                assert!((least..most).contains(&hours), "{hours} hours");
            }
        }
        let other = |error| matches!(after_download(&error, 0, None, 0.5), Reaction::Supersede(_));
        assert!(other(download::Error::Gone) && other(download::Error::Replaced));
        let reaction = after_download(&download::Error::NotAllowed, 0, None, 0.5);
        assert!(matches!(reaction, Reaction::Skip(Some(Cause::Permission), _)), "{reaction:?}");
    }

    #[test]
    fn what_passes_is_never_given_up() {
        for error in [download::Error::Short, download::Error::Changed("x".into())] {
            let reaction = after_download(&error, 1_000_000, None, 1.0);
            assert!(
                matches!(reaction, Reaction::Again { after, .. } if after == Duration::from_mins(10)),
                "{reaction:?}"
            );
        }
        assert_eq!(after_download(&download::Error::Stopped, 3, None, 0.5), Reaction::Release);
    }

    #[test]
    fn a_full_disk_holds_up_without_counting() {
        let reaction = after_disk(&io::Error::from(io::ErrorKind::StorageFull), "", 0, 1.0);
        assert!(matches!(reaction, Reaction::Hold(reason) if reason.contains("full")));
        let reaction = after_disk(&io::Error::from(io::ErrorKind::InvalidFilename), "", 20, 1.0);
        let cap = Duration::from_mins(10);
        assert!(
            matches!(reaction, Reaction::Again { after, counts: true, .. } if after == cap),
            "the others go on"
        );
    }

    #[test]
    fn an_error_of_one_file_names_it() {
        let source = io::Error::from_raw_os_error(5);
        let error = destination::Error::Io { doing: "read", path: "/videos/film.mp4".into(), source };
        let Reaction::Again { reason, .. } = after_destination(&error, 0, 0.5) else { panic!("{error}") };
        assert!(reason.contains("cannot read /videos/film.mp4: "), "{reason}");
    }

    #[test]
    fn an_error_of_the_disk_holds_all_files_and_one_of_a_file_only_that() {
        use io::ErrorKind as Kind;
        let full = "the disk is full";
        let errors = [
            (Kind::StorageFull.into(), Some(full)),
            (Kind::QuotaExceeded.into(), Some(full)),
            (Kind::ReadOnlyFilesystem.into(), Some("mount it for writing")),
            (io::Error::from_raw_os_error(30), Some("mount it for writing")),
            (
                io::Error::new(Kind::ReadOnlyFilesystem, "the unit keeps it closed"),
                Some("the unit keeps it closed"),
            ),
            (Kind::TimedOut.into(), Some("does not answer")),
            (Kind::PermissionDenied.into(), None),
            (Kind::InvalidFilename.into(), None),
        ];
        for (error, held) in errors {
            match (after_disk(&error, "", 3, 1.0), held) {
                (Reaction::Hold(why), Some(word)) => assert!(why.contains(word), "{error}: {why}"),
                (Reaction::Again { after, counts: true, .. }, None) => {
                    assert_eq!(after, Duration::from_secs(16), "{error}");
                }
                (other, _) => panic!("{error}: {other:?}"),
            }
        }
        let changed = download::Error::Changed("it is another one".into());
        let reaction = after_download(&changed, 0, None, 1.0);
        assert!(
            matches!(reaction, Reaction::Again { after, .. } if after == Duration::from_secs(3)),
            "{reaction:?}"
        );
    }

    #[test]
    fn a_wait_of_all_calls_does_not_make_a_files_own_waits_longer() {
        const ASKED: Duration = Duration::from_hours(20);
        for (status, word, expected) in [
            (429, "rateLimitExceeded", false),
            (403, "dailyLimitExceeded", false),
            (500, "internalError", true),
            (403, "downloadQuotaExceeded", true),
            (403, "insufficientPermissions", true),
            (403, "cannotDownloadFile", true),
        ] {
            let body = format!(r#"{{"error":{{"errors":[{{"reason":"{word}"}}]}}}}"#);
            let refusal = |wait| drive::Error::refusal("download", status, body.as_bytes(), wait);
            let refused = download::Error::Drive(refusal(Some(ASKED)));
            let Reaction::Again { after, counts, .. } = after_download(&refused, 3, None, 1.0) else {
                panic!("{word}")
            };
            assert_eq!((after, counts), (ASKED, expected), "{word}: as long as Drive asks for");
        }
        // A setting: the first wait of its kind is a minute, whatever went wrong before.
        let body = br#"{"error":{"errors":[{"reason":"insufficientPermissions"}]}}"#;
        let setting = download::Error::Drive(drive::Error::refusal("download", 403, body, None));
        for (reason, minutes) in [(None, 1), (Some(setting.to_string()), 8)] {
            let reaction = after_download(&setting, 3, reason.as_deref(), 1.0);
            assert!(
                matches!(reaction, Reaction::Again { after, .. } if after == Duration::from_mins(minutes)),
                "{reaction:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_published_is_tried_again_after_ten_seconds_and_then_less_and_less_often() {
        let denied = || destination::Error::Io {
            doing: "publish",
            path: "/videos/film.mp4".into(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        let waits: Vec<u64> =
            (0..8).map(|attempt| after_publishing(&denied(), attempt, 1.0).0.as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
        let full = destination::Error::Io {
            doing: "publish",
            path: "/videos/film.mp4".into(),
            source: io::ErrorKind::StorageFull.into(),
        };
        assert!(matches!(after_publishing(&full, 7, 1.0), (DISK_WAIT, Some(why)) if why.contains("full")));
        let gone = destination::Error::PartGone { hidden: "/videos/.gdrive-webhook".into() };
        assert!(matches!(after_destination(&gone, 0, 1.0), Reaction::Again { counts: true, .. }));
    }

    #[test]
    fn the_reserve_stays_free() {
        const GIB: u64 = 1 << 30;
        assert_eq!(room(10 * GIB, GIB, 0, 9 * GIB), Room::Enough);
        assert!(
            matches!(room(10 * GIB, GIB, 0, 9 * GIB + 1), Room::TooLittle(why) if why.contains("9217 MiB"))
        );
        assert!(
            matches!(room(10 * GIB, GIB, 8 * GIB, 2 * GIB), Room::TooLittle(_)),
            "others are on their way"
        );
        assert!(matches!(room(GIB, GIB, 0, 1), Room::None(why) if why.contains("1024 MiB")));
        assert_eq!(room(0, GIB, 0, 0), Room::Enough, "all of it is there already");
        assert!(matches!(room(u64::MAX, 0, u64::MAX, 1), Room::TooLittle(_) | Room::Enough));
    }
}

//! A Google Drive that runs on this machine: files, changes, push channels, OAuth, and failures on demand.
//!
//! It stands in for `www.googleapis.com` and `oauth2.googleapis.com` while a Drive client is developed or tested.
//! It writes Google's JSON by itself and shares no code with any client, so that a misreading of the API cannot
//! hide on both sides; Google's own Python client and rclone work against it unchanged.
//!
//! # From Rust
//!
//! ```
//! use drive_emulator::{Action, Content, Emulator, Fault, Options, Upload};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let drive = Emulator::start(Options::default()).await?;
//! let inbox = drive.folder(&drive.root_id(), "Inbox");
//! let film = drive.upload(Upload::new(&inbox, "film.mp4", Content::pattern(1, 1 << 30)));
//! drive.fail(Fault::once("files.media", Action::CutAfter { bytes: 1 << 20 }));
//! println!("point the client at {} and let it download {film}", drive.url());
//! drive.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # From a shell
//!
//! `drive-emulator --folder Inbox --credentials-dir /tmp/credentials` serves until it is interrupted; everything a
//! test can do through [`Emulator`] can be done below `/control/`. Bodies and answers are JSON, no credentials are
//! needed, unknown keys are refused, and nothing there is recorded or struck by faults. With
//! `D=http://127.0.0.1:8089/control` and `alias post="curl -sH 'content-type: application/json'"`:
//!
//! | what | example |
//! |---|---|
//! | upload bytes | `curl -s --data-binary @film.mp4 -H 'content-type: application/octet-stream' "$D/files?name=film.mp4&parent=$FOLDER"` |
//! | upload a pattern | `post -d '{"pattern":{"seed":1,"size":104857600}}' "$D/files?name=film.mp4&mimeType=video/mp4&modifiedTime=2026-01-01T00:00:00Z"` |
//! | with quirks ([`Quirk`]) | `post -d '{"text":"x"}' "$D/files?name=a.mp4&quirks=noChecksums,noSize"` |
//! | new revision | `post -d '{"pattern":{"seed":2,"size":1000}}' $D/files/$ID/content` |
//! | an old revision again | `curl -sd '{"revisionId":"…"}' $D/files/$ID/restore` |
//! | metadata-only change | `curl -sX POST $D/files/$ID/touch` |
//! | rename, move, trash | `curl -sX PATCH -d '{"name":"b.mp4","parent":"…","trashed":true}' $D/files/$ID` |
//! | delete for ever | `curl -sX DELETE $D/files/$ID` |
//! | look | `curl -s $D/files` · `curl -s $D/files/$ID` |
//! | folder, shortcut, shared drive | `curl -sd '{"name":"Inbox"}' $D/folders` · `curl -sd '{"name":"link","target":"…"}' $D/shortcuts` · `curl -sd '{"name":"Team"}' $D/drives` |
//! | another account, and its credentials | `curl -sd '{"address":"ann@example.com"}' $D/users` · `curl -s $D/users/ann@example.com/credentials` |
//! | share, by name or by link | `curl -sd '{"address":"ann@example.com","role":"reader"}' $D/files/$ID/permissions` · `curl -sd '{"role":"reader"}' …` |
//! | unshare | `curl -sX DELETE $D/files/$ID/permissions/ann@example.com` · `…/permissions/link` |
//! | who may download | `curl -sd '{"downloads":"writersOnly"}' $D/files/$ID/downloads` · `"forbidden"` · `"allowed"` |
//! | resource key, owner | `curl -sX POST $D/files/$ID/resource-key` · `curl -sd '{"address":"…"}' $D/files/$ID/owner` |
//! | members of a shared drive | `curl -sd '{"address":"…","role":"writer"}' $D/drives/$ID/members` · `curl -sX DELETE $D/drives/$ID/members/…` |
//! | rename, delete a shared drive | `curl -sX PATCH -d '{"name":"Crew"}' $D/drives/$ID` · `curl -sX DELETE $D/drives/$ID` |
//! | how sharing behaves | `curl -sd '{"permissionLag":{"metadataMilliseconds":0,"mediaMilliseconds":3000,"refusal":"insufficientFilePermissions","entry":true}}' $D/sharing` |
//! | … | `driveRefusal` (`notFound`, `membershipRequired`), `outsiderEntries`, `consentAs`, `ownServiceAccount` |
//! | a fault ([`Fault`]) | `curl -sd '{"matching":{"operation":"files.media","skip":1},"times":2,"action":{"cutAfter":{"bytes":1000}}}' $D/faults` |
//! | no more faults | `curl -sX DELETE $D/faults` |
//! | disturb notifications ([`Disturbance`]) | `curl -sd '{"disturbance":"drop","times":3}' $D/notifications` · `"double"` · `"swap"` · `{"delay":{"milliseconds":500}}` |
//! | what it saw | `curl -s "$D/requests?operation=changes.list"` · `curl -s $D/channels` · `curl -s $D/notifications` |
//! | forget the requests | `curl -sX DELETE $D/requests` |
//! | settings | `curl -sd '{"notifications":true,"rate":null,"noise":1,"channelLifetimeCapSeconds":60}' $D/settings` |
//! | … | `latencyMilliseconds`, `syncBeforeAnswer`, `notificationsAfterStop`, `changeDelayMilliseconds`, `processingDelayMilliseconds`, `emptyPages`, `accessTokenLifetimeSeconds`, `refreshTokenLifetimeSeconds` |
//! | … for listings | `listingLagMilliseconds`, `shiftingListings` |
//! | … for moves | `removalLagMilliseconds`, `descendantEntries` |
//! | keep one item out of listings | `curl -sd '{"milliseconds":3000}' $D/files/$ID/hide` |
//! | notify every channel | `curl -sX POST $D/push` |
//! | end channels early | `curl -sd '{"seconds":0}' $D/channels/shorten` |
//! | refuse page tokens | `curl -sX POST $D/page-tokens/refuse` |
//! | kill logins | `curl -sX POST $D/refresh-tokens/revoke` · `curl -sX POST $D/access-tokens/expire` |
//! | end connections | `curl -sX POST $D/connections/go-away` · `curl -sX POST $D/connections/silence` |
//! | move the clock | `curl -sd '{"moveMilliseconds":3600000}' $D/clock` |
//! | scopes that a user grants | `curl -sd '{"scopes":["https://www.googleapis.com/auth/drive.readonly"]}' $D/consent` · `{"scopes":null}`: all |
//! | a consent page with buttons | `curl -sd '{"asks":true}' $D/consent` |
//! | fill from a directory | `curl -sd '{"directory":"/srv/films","into":"…"}' $D/seed` |
//! | everything back to the beginning | `curl -sX POST $D/reset` |
//! | is it there | `curl -s $D/health` |
//! | credential files | `curl -s $D/credentials/service-account` · `client` · `authorized-user` |
//!
//! An action of a fault is one of `{"status":{"code":429,"reason":"rateLimitExceeded","message":"…","retryAfter":"7"}}`,
//! `{"html":{"code":502}}`, `{"cutAfter":{"bytes":1}}`, `{"stallAfter":{"bytes":1}}`, `{"resetAfter":{"bytes":1}}`,
//! `{"delay":{"milliseconds":1}}`, `{"answerLate":{"milliseconds":1}}`, `{"slow":{"bytesPerSecond":1}}`, `{"wrongByte":{"offset":1}}`,
//! `{"wrongLength":{"by":-1}}`, `"ignoreRange"`, `{"revise":{"text":"…"}}`, `"goAway"`, `"silence"`,
//! `{"resetStream":{"error":"refusedStream","after":1}}`, `{"text":{"text":"{\"nextPageToken\":\"{count}\"}"}}`,
//! `{"patch":{"pointer":"/changes/0/file","json":"7"}}`, `{"remove":{"pointer":"/files"}}`,
//! `{"header":{"name":"x","value":"y"}}`, `{"redirect":{"location":"/other"}}`, `{"truncate":{"bytes":1}}`,
//! `{"wrongRange":{"startBy":1,"totalBy":1}}`, `{"withoutLength":"chunked"}`, `{"bomb":{"megabytes":1}}`; see
//! [`Action`].
//!
//! # From a container or another host
//!
//! `drive-emulator --host 0.0.0.0 --tls --tls-name drive.example --credentials-dir /tmp/credentials` listens on every
//! address and serves https besides, with an authority of its own. Clients trust `/tmp/credentials/authority.pem`, and
//! the credentials beside it name `https://drive.example:PORT`. It has no secrets: any host that reaches it may do anything.
//!
//! # What is modelled
//!
//! `about.get`, `files.get`/`list`/`create`/`update`/`delete`/`copy`/`watch`, `generateIds`, `emptyTrash`, uploads with
//! the request, in two parts and in resumable sessions, batches, media with ranges on both media paths, `changes`,
//! `channels.stop`, `drives`, `permissions`; the token endpoint for refresh tokens, authorization codes with PKCE and
//! service accounts, the metadata server of a machine, the exchange of other issuers' tokens and tokens of service accounts, a consent page that grants at once or asks, revocation. Every request is held against Google's discovery document first:
//! names, types and choices of its parameters, the scopes of its token. A method that the document has and the emulator
//! lacks answers 501 with its name; a path that the document does not have, Google's HTML 404.
//!
//! It speaks HTTP/1.1 and HTTP/2: the latter by ALPN over TLS, and to whoever begins with it on a plain connection. JSON
//! is compressed for clients that accept gzip and have the word in their `User-Agent`.
//!
//! There is one user at first, who may do everything its token's scope admits; tests open more accounts, which see what
//! is shared with them ([`Emulator::user`], [`Emulator::service_account`]). Revisions and exports are not modelled.
//!
//! # How it is built
//!
//! From the ground up; a room names only what stands below it:
//!
//! - `drive/` is the Drive: accounts, a tree with permissions, change logs and channels. It knows no HTTP, no tokens and
//!   no faults. `params` reads queries, `authority` makes certificates.
//! - `fault`, `disturbance`, `uploads` and the tokens of `oauth/` are what stands around it; `world` holds all of it behind
//!   one lock, and `inner` what every task shares. `serve/` pours answers onto connections, and is where bodies are cut,
//!   slowed and falsified.
//! - `api/` turns requests into answers, each from the `View` of the account that asks. `oauth/` gives out tokens, `notify`
//!   delivers what the Drive has to say, `api::serve` takes a request from its head to its answer.
//! - `emulator` is the handle; `user`, `sharing`, `conduct`, `connections` and `seed` are its methods, `control/` the handle
//!   over HTTP. `front` tells its requests from the Drive's, `serve::connection` accepts them, `start` begins it all.

mod api;
mod authority;
mod conduct;
mod connections;
mod control;
mod disturbance;
mod drive;
mod emulator;
mod fault;
mod front;
mod inner;
mod notify;
mod oauth;
mod params;
mod seed;
mod serve;
mod sharing;
mod start;
mod uploads;
mod user;
mod world;

pub use authority::{TlsFiles, names_of, write_private};
pub use conduct::ChannelRecord;
pub use disturbance::{Disturbance, NotificationRecord};
pub use drive::content::Content;
pub use drive::late::{EffectEntry, MediaRefusal, PermissionLag};
pub use drive::node::{Quirk, Upload};
pub use drive::role::{Downloads, Role};
pub use drive::state::DriveRefusal;
pub use emulator::Emulator;
pub use fault::{Action, Fault, Framing, Matching, StreamError};
pub use seed::Seeded;
pub use serve::record::RequestRecord;
pub use sharing::User;
pub use start::Options;

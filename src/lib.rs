//! A daemon that turns Google Drive folders into an inbox. Drive announces a change by a push notification; the change
//! log says what it was; every new video below a watched folder is downloaded, verified, and put in its place in one
//! step. This page is the architecture.
//!
//! # How one notification travels
//!
//! ```text
//! POST with X-Goog-* headers
//!   receiver/notification    parse                  Notification { channel, token, state, number }
//!   channel/registry         authenticate           204, and a wake-up of capacity one
//! sync engine wakes
//!   drive/changes            changes(token)         Page { changes, next }
//!   sync/decide              decide(change, rules, tree, ledger)   Decision          no I/O
//!   store/pages              commit_changes         folders, deliveries and token in one transaction
//! delivery engine wakes
//!   store/deliveries         claim                  Delivery
//!   download/plan            claim a piece          which connection fetches what             no I/O
//!   download/lane            media -> spool/sink    buffers of one connection
//!   spool/writer             past the page cache    Part, with spool/front hashing close behind
//!   spool/part               verify                 VerifiedPart
//!   delivery/publisher       publish                many at once: plan, ledger, move, ledger
//!   destination/publish      plan, publish          one rename that overwrites nothing
//!   store/steps              publishing, done
//! channel keeper, by its timer, or when the public address is another one
//!   channel/plan             plan(channels, now)    Open | Stop | End | Forget       no I/O
//! ```
//!
//! A notification carries no data: it wakes. Push, poll, start and `sync` run the same step.
//!
//! # The rooms, lowest floor first
//!
//! A room names rooms on lower floors only; `tests/it/tidy.rs` reads the sources and fails when one does not.
//!
//! | floor | rooms |
//! |---|---|
//! | 1 | [`checkpoint`]: where tests kill · [`model`]: words · [`owner`]: whose files are, and what keeps us from them · [`process`]: limits of the process · [`retry`]: when to try again · [`sandbox`]: what the kernel lets us write · [`task`]: how an engine lives · [`telemetry`]: log, counters, systemd, what is held |
//! | 2 | [`http`]: clients and their shared pause · [`listen`]: sockets · [`spool`]: the only writer of parts · [`store`]: the only SQL |
//! | 3 | [`admin`]: the private door · [`auth`]: access tokens, login · [`destination`]: takes verified parts only |
//! | 4 | [`drive`]: the few calls, and Google's field names |
//! | 5 | [`channel`]: the keeper of push channels · [`download`]: bytes into a verified part · [`sync`]: logs and listings into the ledger |
//! | 6 | [`delivery`]: from the ledger to the destination · [`receiver`]: the public door |
//! | 7 | [`config`]: files and environment; every other room only has a `Config` |
//! | 8 | [`daemon`]: everything put together, the only one that starts engines |
//! | 9 | `demo`: the daemon against an emulated Drive |
//! | 10 | [`cli`] |
//!
//! # What always holds
//!
//! - A page token moves only in the transaction that records everything its page said, and only from the token that the
//!   page was asked with.
//! - The start token is taken before the folders are listed: what changes meanwhile comes after it. A refused token begins
//!   again in the same way, and the listing is compared with the ledger.
//! - A content is new when the ledger does not have it under `(file id, head revision id)`, and the same bytes are not
//!   there under another revision. Times and versions prove nothing.
//! - No byte of a file belongs to two connections. A part without a file of ranges beside it was written from its
//!   beginning on; with one, that file says no more than what was durable when it was written.
//! - A transfer has a fixed number of buffers and waits for one of them to be free: that keeps memory flat.
//! - Pages of changes that come to nothing may be recorded together with the next one; the token does not move before.
//! - Only [`spool`] makes a `VerifiedPart`, and only a `VerifiedPart` can be published.
//! - Where a file is about to be published stands in the ledger before it is moved. After a crash the disk tells which of
//!   the two came last.
//! - A destination is known by the marker in its hidden folder, which the ledger knows: an empty mount point is not the
//!   destination. What is wrong with a disk holds everything that goes there, and nothing else.
//! - What a shortcut points at counts as if it lay where the shortcut lies, unless it lies in a watched folder itself.
//! - When Drive asks for fewer calls, or answers nobody, all calls pause, and one caller finds out whether that is over.
//! - A channel's row is written before Drive is asked for the channel: its first message can come before the answer.
//! - The files `model/*`, `retry`, `sync/decide`, `sync/rules`, `sync/tree`, `channel/plan`, `delivery/step`,
//!   `download/plan`, `download/streams`, `spool/ranges`, `receiver/notification`, `admin/health`, `admin/origin` and `drive/error` decide and do nothing else: no clock, no
//!   disk, no network, no luck, no `async`. Time and luck are arguments.
//! - Relative paths begin at the configuration file, what is written lies in the state directory; only `run` and `sync`
//!   make it, and the database. Its files have mode 0600 from the beginning, and root makes them for the directory's owner.
//! - The receiver waits for nobody: it reads the registry, wakes, answers.
//! - A connection ends by its deadline, whatever its peer does. When an address has as many as it may, the oldest is
//!   closed for each new one.
//! - An engine that ends by itself takes the program down. Half a program would look alive. One that is stuck is no longer
//!   vouched for to systemd's watchdog.
//! - What has to be done before there is a second thread is done in `cli`: the socket that systemd hands over is taken, and
//!   the kernel is told what may be written.
//! - A configuration is taken over whole or not at all. Engines look at theirs when a step begins.
//! - Change logs are read only while it is known which rule each watched folder belongs to. A folder that no rule names is
//!   suspended for a day, and listed again if it comes back.
#![doc = ""]
#![doc = include_str!("proofs.md")]

pub mod admin;
pub mod auth;
pub mod channel;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod delivery;
#[cfg(feature = "demo")]
pub mod demo;
pub mod destination;
pub mod download;
pub mod drive;
pub mod http;
pub mod listen;
pub mod model;
pub mod owner;
pub mod process;
pub mod receiver;
pub mod retry;
pub mod sandbox;
pub mod spool;
pub mod store;
pub mod sync;
pub mod task;
pub mod telemetry;

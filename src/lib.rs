//! A daemon that turns Google Drive folders into an inbox. Drive announces each change with a push notification. The
//! daemon reads the change log, downloads every new video below a watched folder, verifies it, and publishes it with one
//! rename. This page is the architecture.
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
//!   delivery/adoption        adopt                  is it there already?
//!   download/plan            claim a piece          which connection fetches what             no I/O
//!   download/lane            media -> spool/sink    buffers of one connection
//!   spool/writer             past the page cache    Part, with spool/front hashing close behind
//!   spool/verified           verify                 VerifiedPart
//!   delivery/publisher       publish                many at once: plan, ledger, move, ledger
//!   destination/publish      plan, publish          one rename that overwrites nothing; one fsync for each folder
//!   store/steps              publishing, done
//! channel keeper, by its timer, by the first call on a channel, or when the public address changes
//!   channel/calls            silence(channels, now)                Silence       no I/O
//!   channel/plan             plan(channels, now)    Open | Stop | End | Forget       no I/O
//! ```
//!
//! A notification carries no data: it only wakes an engine. Push, poll, start and `sync` run the same step.
//!
//! # The rooms, lowest floor first
//!
//! A room names rooms on lower floors only; `tests/it/tidy.rs` reads the sources and fails when one does not.
//!
//! | floor | rooms |
//! |---|---|
//! | 1 | [`checkpoint`]: points where tests kill the program · [`model`]: domain types · [`owner`]: owners of files, files that are replaced in one step, and explanations of denied access · [`process`]: limits of the process · [`retry`]: when to try again · [`sandbox`]: write restrictions by the kernel · [`task`]: the loop of an engine · [`telemetry`]: log, counters, systemd, held destinations |
//! | 2 | [`http`]: clients and their shared pause · [`listen`]: sockets · [`spool`]: the only writer of parts · [`store`]: the only SQL |
//! | 3 | [`auth`]: access tokens, login · [`destination`]: takes verified parts only |
//! | 4 | [`drive`]: the API calls, and Google's field names |
//! | 5 | [`audit`]: compares Drive, the database and the destinations by code of its own · [`channel`]: the keeper of push channels · [`download`]: from bytes to a verified part · [`sync`]: from change logs and listings to the ledger |
//! | 6 | [`admin`]: the admin address · [`delivery`]: from the ledger to the destination · [`receiver`]: the webhook address |
//! | 7 | [`config`]: file and environment; every other room only has its own `Config` |
//! | 8 | [`daemon`]: the complete program; the only room that starts engines · [`doctor`]: looks at every prerequisite, and changes nothing |
//! | 9 | `demo`: the daemon against an emulated Drive |
//! | 10 | [`cli`] |
//!
//! # What always holds
//!
//! - A page token moves only in the transaction that records all changes of its page, and only from the token that the
//!   page was requested with.
//! - The start token is fetched before the folders are listed: changes during the listing come after it. A refused token
//!   is replaced in the same way, and the listing is compared with the ledger.
//! - A content is new when it is not the newest content that the ledger has of the file. An earlier content never takes the
//!   place of a later one. Times and versions prove nothing.
//! - No byte of a file belongs to two connections. A part without a file of ranges was written from its beginning without
//!   gaps. A file of ranges contains only ranges that were durable when it was written.
//! - A transfer has a fixed number of buffers and waits for a free one: that bounds memory.
//! - Pages without relevant changes may be recorded together with the next page; the token does not move before.
//! - Only [`spool`] creates a `VerifiedPart`, and only a `VerifiedPart` can be published.
//! - The hidden folder is used by the handle that it was opened with, without following a link, and only if it belongs to
//!   the program's user; so is each file in it. Before a part is moved, its name is looked up again.
//! - After a failed fsync the bytes of a part are not trusted: it begins again, in a new file.
//! - The ledger records where a file is about to be published before the file is moved. After a crash the disk shows
//!   whether it was moved: by the file in its place, by the earlier content that it was exchanged for, or by a note made
//!   after the move. A part that is merely missing proves nothing: the file is downloaded again.
//! - A content is published only when it is known what became of an earlier one that was being published.
//! - A destination is identified by the marker in its hidden folder, which the ledger knows: an empty mount point is not
//!   the destination. A failing disk holds all deliveries to it, and no others.
//! - A destination belongs to one database at a time: who has something open there holds a lock in the hidden folder, and
//!   the marker names the database. What a database does not know there may be another one's, and stays for thirty days.
//! - What waits for the disk of a destination is a method of `Destination`, and leaves the runtime's threads by itself.
//! - What moves a file is in `destination/calls`. A folder that a part cannot be moved to gets a copy, and a name that a file
//!   system refuses is replaced by another one: the first refusal tells, since nothing says so beforehand.
//! - A file that lies at its place before it is downloaded is adopted if its bytes are the expected ones. It is not the
//!   program's: nothing replaces it.
//! - The target of a shortcut is treated as if it were in the place of the shortcut, unless it is in a watched folder
//!   itself.
//! - A connection on which a call failed takes no further calls; calls under way stay on it. A read that broke off is made
//!   once more over a new connection. Answers are read up to a limit, which counts unpacked bytes.
//! - The database belongs to one Drive account. Before the first call under a login whose account is not known, `about.get`
//!   tells whose it is; another account's logs begin anew.
//! - The database remembers the newest content of each file as long as Drive shows the file, and the newest content that was
//!   delivered; otherwise they would be delivered again. Earlier contents, and files that have been gone from Drive for 90
//!   days, are removed, a hundred rows at a time.
//! - When Drive asks for fewer calls, or does not answer at all, all calls pause, and one caller tests whether that is over.
//! - A channel's row is written before Drive is asked for the channel: its first message can arrive before the answer.
//! - The audit shares neither decisions nor publishing with the code that delivers. A file that the database does not
//!   explain is looked at again when the change logs have been read to their ends; only then it counts as missing.
//! - The files `model/*`, `retry`, `audit/doubts`, `audit/judge`, `audit/rules`, `sync/contents`, `sync/decide`,
//!   `sync/decision`, `sync/heard`, `sync/rules`, `sync/tree`,
//!   `channel/calls`, `channel/plan`, `delivery/load`, `delivery/reaction`, `download/plan`, `download/streams`, `download/trickle`, `spool/ranges`,
//!   `receiver/notification`, `admin/health`, `admin/origin`, `drive/error`, `drive/odd`, `drive/pages`, `drive/wire`,
//!   `config/folders` and `config/validate` are pure: no clock, no disk, no network, no random numbers, no `async`. Time and random numbers are
//!   arguments.
//! - Relative paths are relative to the configuration file. The program's own files are in the state directory; only `run`
//!   and `sync` create it and the database. Its files are created with mode 0600, and root gives them to the directory's
//!   owner.
//! - The receiver never waits: it notes the call in the registry, wakes the sync engine, and answers. The keeper writes
//!   calls into the ledger later.
//! - A channel that Google has not called on for a minute is silent: not ready, and its log is read every minute. A channel
//!   that takes the place of a silent one is silent until a call comes on itself.
//! - A connection ends by its deadline, whatever its peer does. When an address has reached its limit, the oldest
//!   connection is closed for each new one.
//! - An engine that ends unexpectedly stops the program: it must not look alive while a part of it does nothing. When an
//!   engine is stuck, systemd's watchdog gets no keep-alive.
//! - Steps that must precede a second thread are in `cli`: taking the socket from systemd, and restricting writes.
//! - A new configuration takes effect as a whole or not at all. Engines read theirs at the beginning of a step.
//! - Change logs are read and folders are listed side by side: at most one reader for each log, one lister, one asker. A log or
//!   a folder that fails waits alone. What a log says of an item is newer than a listing that was under way.
//! - A change or a listing that shows an item says where it is. An item that a listing does not show, and an entry that
//!   cannot be read, is a question for `files.get`, which the ledger keeps until it is answered. `removed` counts only from
//!   the log that the item belongs to.
//! - Listings of Drive lag: a folder that is new to the ledger is listed at once, after a minute, and after ten more.
//! - Change logs are read only while the rule of each watched folder is known. A folder that no rule names is suspended for
//!   a day, and listed again if it comes back.
#![doc = ""]
#![doc = include_str!("proofs.md")]

pub mod admin;
pub mod audit;
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
pub mod doctor;
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

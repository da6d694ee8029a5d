//! Lists everything below the watched folders, page by page, each folder once: the audit's own way through Drive. What
//! shortcuts point at comes last, so that what lies below a watched folder by itself is met there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::report::LeftOut;
use super::rules::{Compiled, Depth};
use crate::drive::{Corpus, Drive, Error, Fault, Listed};
use crate::model::{ChangeLog, File, FileId, Kind, ResourceKeys};

/// What passes is tried again after these.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// More pages than this do not belong to a folder.
const PAGES: usize = 5_000;
/// Drive limits nesting to about a hundred folders.
const DEPTH: usize = 200;
/// So many files that shortcuts point at come at once.
const TARGETS: usize = 100;

/// A watched folder as Drive shows it.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) folder: File,
    pub(super) keys: ResourceKeys,
    /// In the order of the configuration.
    pub(super) rules: Vec<Compiled>,
}

/// Where something lies below a watched folder, which is given by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) watched: usize,
    pub(super) depth: Depth,
}

/// Below which watched folders something lies, the innermost first.
pub(super) type Spots = Arc<[Spot]>;

/// A file, and where it lies.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) file: File,
    pub(super) spots: Spots,
    /// Its path below the innermost watched folder.
    pub(super) path: String,
    /// The folder it lies in, or the shortcut to it.
    pub(super) folder: FileId,
    pub(super) shortcut: Option<FileId>,
    pub(super) keys: ResourceKeys,
}

/// What one call has shown.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) files: Vec<Seen>,
    /// Shortcuts that lead to nothing that counts, each with the number of its watched folder.
    pub(super) left_out: Vec<(usize, LeftOut)>,
    /// What could not be looked at.
    pub(super) problems: Vec<String>,
}

#[derive(Clone, Debug)]
struct Folder {
    id: FileId,
    log: ChangeLog,
    keys: ResourceKeys,
    spots: Spots,
    path: String,
    /// What it lies in, if that is below a watched folder too.
    parent: Option<FileId>,
}

#[derive(Clone, Debug)]
struct Shortcut {
    id: FileId,
    target: FileId,
    keys: ResourceKeys,
    spots: Spots,
    path: String,
    folder: FileId,
}

/// A folder that is being listed.
#[derive(Debug)]
struct Listing {
    folder: Folder,
    next: Option<String>,
    asked: HashSet<String>,
}

/// The way.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    drive: &'a Drive,
    watched: &'a [Watched],
    numbers: HashMap<FileId, usize>,
    /// Watched folders to begin with; the next one last.
    starts: Vec<usize>,
    open: Vec<Folder>,
    listing: Option<Listing>,
    shortcuts: VecDeque<Shortcut>,
    targets: Vec<Seen>,
    /// Folders that were listed, and what each of them lies in.
    parents: HashMap<FileId, Option<FileId>>,
}

impl<'a> Walk<'a> {
    /// Begins with the outermost watched folders, so that the rules of all folders around a file are known.
    pub(super) async fn begin(drive: &'a Drive, watched: &'a [Watched]) -> Result<Self, Error> {
        let numbers: HashMap<FileId, usize> =
            watched.iter().enumerate().map(|(number, watched)| (watched.folder.id.clone(), number)).collect();
        let mut starts: Vec<(usize, usize)> = Vec::new();
        let mut known = HashMap::new();
        for (number, watched) in watched.iter().enumerate() {
            starts.push((watched_above(drive, watched, &numbers, &mut known).await?, number));
        }
        starts.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self {
            drive,
            watched,
            numbers,
            starts: starts.into_iter().map(|(_, number)| number).collect(),
            open: Vec::new(),
            listing: None,
            shortcuts: VecDeque::new(),
            targets: Vec::new(),
            parents: HashMap::new(),
        })
    }

    /// How many folders were begun.
    pub(super) fn folders(&self) -> u64 {
        self.parents.len() as u64
    }

    /// A folder that was listed and those above it, the innermost first, up to the watched one.
    pub(super) fn chain(&self, folder: &FileId) -> Vec<FileId> {
        let above = std::iter::successors(Some(folder), |id| self.parents.get(*id).and_then(Option::as_ref));
        above.take(DEPTH).cloned().collect()
    }

    /// What the next call shows; `None` at the end. What concerns one folder or one item alone is a problem, and the
    /// others go on.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Error> {
        loop {
            if let Some(listing) = self.listing.take() {
                return self.page(listing).await.map(Some);
            }
            if let Some(folder) = self.next_folder() {
                if !self.parents.contains_key(&folder.id) {
                    self.parents.insert(folder.id.clone(), folder.parent.clone());
                    self.listing = Some(Listing { folder, next: None, asked: HashSet::new() });
                }
            } else if let Some(shortcut) = self.shortcuts.pop_front() {
                let page = self.follow(shortcut).await?;
                if !page.left_out.is_empty() || !page.problems.is_empty() {
                    return Ok(Some(page));
                }
            } else if self.targets.is_empty() {
                return Ok(None);
            } else {
                let mut files = self.targets.split_off(self.targets.len().saturating_sub(TARGETS));
                // What lies in a folder that was listed was met there.
                files.retain(|seen| {
                    !seen.file.parent.as_ref().is_some_and(|id| self.parents.contains_key(id))
                });
                return Ok(Some(Page { files, ..Page::default() }));
            }
        }
    }

    fn next_folder(&mut self) -> Option<Folder> {
        self.open.pop().or_else(|| {
            let number = self.starts.pop()?;
            let Watched { folder, keys, .. } = &self.watched[number];
            Some(Folder {
                id: folder.id.clone(),
                log: ChangeLog::of(folder),
                keys: keys.clone(),
                spots: Arc::new([Spot { watched: number, depth: Depth::Direct }]),
                path: String::new(),
                parent: None,
            })
        })
    }

    async fn page(&mut self, mut listing: Listing) -> Result<Page, Error> {
        let mut page = Page::default();
        let Listed { files, unclear, next } = match self.children(&listing).await {
            Ok(listed) => listed,
            Err(error) if concerns_all(&error) => return Err(error),
            Err(error) => {
                let name = self.name_of(&listing.folder);
                page.problems.push(format!("the folder {name} cannot be listed: {error}"));
                return Ok(page);
            }
        };
        let mut items = files;
        for id in unclear {
            match self.item(&id, &listing.folder.keys).await {
                Ok(file) => items.push(file),
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) => page.problems.push(format!("Drive does not say what {id} is: {error}")),
            }
        }
        for file in items {
            self.sort(&listing.folder, file, &mut page);
        }
        match next {
            Some(next) if listing.asked.len() < PAGES && listing.asked.insert(next.clone()) => {
                listing.next = Some(next);
                self.listing = Some(listing);
            }
            Some(_) => {
                let name = self.name_of(&listing.folder);
                page.problems.push(format!("the list of the folder {name} does not come to an end"));
            }
            None => {}
        }
        Ok(page)
    }

    async fn children(&self, listing: &Listing) -> Result<Listed, Error> {
        let Folder { id, log, keys, .. } = &listing.folder;
        let next = listing.next.as_deref();
        match patiently(|| self.drive.children(Corpus::Of(log), id, keys, next)).await {
            Err(error) if log.drive_id().is_some() && is_hidden(&error) => {
                patiently(|| self.drive.children(Corpus::Visible, id, keys, next)).await
            }
            listed => listed,
        }
    }

    async fn item(&self, id: &FileId, keys: &ResourceKeys) -> Result<File, Error> {
        patiently(|| self.drive.file(id, keys)).await
    }

    /// Puts an item of a folder where it belongs.
    fn sort(&mut self, folder: &Folder, file: File, page: &mut Page) {
        if file.trashed {
            return;
        }
        let path =
            if folder.path.is_empty() { file.name.clone() } else { format!("{}/{}", folder.path, file.name) };
        match file.kind() {
            Kind::Folder => self.enter(&file, folder, path),
            Kind::Shortcut if self.are_followed(&folder.spots) => {
                let Some(target) = file.shortcut_target else { return };
                let mut keys = folder.keys.clone();
                keys.extend(file.shortcut_target_key.map(|key| (target.clone(), key)));
                self.shortcuts.push_back(Shortcut {
                    id: file.id,
                    target,
                    keys,
                    spots: folder.spots.clone(),
                    path,
                    folder: folder.id.clone(),
                });
            }
            Kind::Shortcut | Kind::GoogleNative | Kind::Binary => page.files.push(Seen {
                file,
                spots: folder.spots.clone(),
                path,
                folder: folder.id.clone(),
                shortcut: None,
                keys: folder.keys.clone(),
            }),
        }
    }

    /// A folder below is listed if anybody wants what is in it.
    fn enter(&mut self, file: &File, above: &Folder, path: String) {
        let own = self.numbers.get(&file.id).map(|&watched| Spot { watched, depth: Depth::Direct });
        let around = above.spots.iter().filter(|spot| self.is_recursive(spot.watched));
        let around = around.map(|spot| Spot { depth: Depth::Below, ..*spot });
        let path = if own.is_some() { String::new() } else { path };
        let spots: Spots = own.into_iter().chain(around).collect();
        if spots.is_empty() {
            return;
        }
        let mut keys = above.keys.clone();
        keys.extend(file.resource_key.clone().map(|key| (file.id.clone(), key)));
        let (id, log, parent) = (file.id.clone(), ChangeLog::of(file), Some(above.id.clone()));
        self.open.push(Folder { id, log, keys, spots, path, parent });
    }

    fn is_recursive(&self, watched: usize) -> bool {
        self.watched[watched].rules.iter().any(|rule| rule.rule.recursive)
    }

    fn are_followed(&self, spots: &[Spot]) -> bool {
        spots.iter().any(|spot| self.watched[spot.watched].rules.iter().any(|rule| rule.rule.shortcuts))
    }

    /// Looks at what a shortcut points at.
    async fn follow(&mut self, shortcut: Shortcut) -> Result<Page, Error> {
        let mut page = Page::default();
        let Shortcut { id, target, keys, spots, path, folder } = shortcut;
        let Some(innermost) = spots.first().map(|spot| spot.watched) else { return Ok(page) };
        let file = match self.item(&target, &keys).await {
            Ok(file) => file,
            Err(error) if concerns_all(&error) => return Err(error),
            Err(error) if is_hidden(&error) => {
                page.left_out.push((innermost, LeftOut::Dangling));
                return Ok(page);
            }
            Err(error) => {
                page.problems
                    .push(format!("what the shortcut {path} points at cannot be looked at: {error}"));
                return Ok(page);
            }
        };
        match file.kind() {
            _ if file.trashed => {}
            Kind::Folder if self.is_around(&target, &folder) => {}
            Kind::Folder => {
                let above = Folder {
                    id: folder,
                    log: ChangeLog::User,
                    keys,
                    spots,
                    path: String::new(),
                    parent: None,
                };
                self.enter(&file, &above, path);
            }
            Kind::Shortcut => page.left_out.push((innermost, LeftOut::Shortcut)),
            Kind::GoogleNative | Kind::Binary => {
                if !self.targets.iter().any(|seen| seen.file.id == file.id) {
                    let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name).to_owned();
                    let file = File { name, ..file };
                    self.targets.push(Seen { file, spots, path, folder, shortcut: Some(id), keys });
                }
            }
        }
        Ok(page)
    }

    /// Whether a folder was listed, is watched, or the way from a watched folder to this one begins in it.
    fn is_around(&self, folder: &FileId, place: &FileId) -> bool {
        let begins_in = self.chain(place).pop().and_then(|id| self.numbers.get(&id).copied());
        let above = begins_in.and_then(|number| self.watched[number].folder.parent.as_ref());
        self.parents.contains_key(folder) || self.numbers.contains_key(folder) || above == Some(folder)
    }

    fn name_of(&self, folder: &Folder) -> String {
        let watched = folder.spots.first().map(|spot| self.watched[spot.watched].folder.name.as_str());
        format!("{}/{} ({})", watched.unwrap_or_default(), folder.path, folder.id).replace("/ (", " (")
    }
}

/// How many watched folders there are above this one.
async fn watched_above(
    drive: &Drive,
    watched: &Watched,
    numbers: &HashMap<FileId, usize>,
    known: &mut HashMap<FileId, Option<FileId>>,
) -> Result<usize, Error> {
    let mut count = 0;
    let mut here = watched.folder.parent.clone().filter(|_| numbers.len() > 1);
    for _ in 0..DEPTH {
        let Some(id) = here else { break };
        count += usize::from(numbers.contains_key(&id));
        if !known.contains_key(&id) {
            let parent = match patiently(|| drive.file(&id, &watched.keys)).await {
                Ok(file) => file.parent,
                Err(error) if concerns_all(&error) => return Err(error),
                Err(_) => None,
            };
            known.insert(id.clone(), parent);
        }
        here = known.get(&id).cloned().flatten();
    }
    Ok(count)
}

/// Makes a call again that failed for something that passes.
pub(super) async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    call: impl Fn() -> F,
) -> Result<T, Error> {
    for wait in AGAIN {
        match call().await {
            Err(error) if passes(&error) => {
                tokio::time::sleep(error.retry_after().unwrap_or_default().max(wait)).await;
            }
            outcome => return outcome,
        }
    }
    call().await
}

fn passes(error: &Error) -> bool {
    matches!(error.fault(), Fault::Connection | Fault::Server | Fault::Unreadable | Fault::RateLimit)
}

/// Whether Drive says that the account may not see something, or that it is not there.
pub(super) fn is_hidden(error: &Error) -> bool {
    matches!(error.fault(), Fault::NotFound | Fault::NotMember | Fault::Denied | Fault::Forbidden)
}

/// Whether calls about other items are likely to fail in the same way.
pub(super) fn concerns_all(error: &Error) -> bool {
    matches!(
        error.fault(),
        Fault::Connection
            | Fault::Database
            | Fault::LoginNeeded
            | Fault::Credentials
            | Fault::Unauthorized
            | Fault::RateLimit
            | Fault::DailyLimit
    )
}

//! Files that lie at a destination before this program has put them there: made by another tool, or by this program with a
//! database that is lost. One with the expected bytes is not downloaded. It stays its owner's: nothing replaces it.

use super::published::{identity, is_regular, read_as};
use super::{Error, Local, calls};
use crate::model::delivery::PublishedFile;
use crate::model::{Naming, Refusal, RelativePath};
use crate::spool::Expected;

/// So many names with a mark are looked at. More files of one name and one size do not lie in one folder.
const ROUNDS: u32 = 10;

/// What is to be seen at a place without reading anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lying {
    /// Nothing.
    Nothing,
    /// It is not the file that is looked for.
    Another,
    /// A file of the same size.
    Alike,
}

impl Local {
    /// The places at which a file of this size lies that may be the wanted one. Names with its own mark come first: without
    /// one, two files of one name and one content could take each other's.
    pub(super) fn alike(
        &self,
        wanted: &RelativePath,
        mark: &str,
        size: u64,
    ) -> Result<Vec<RelativePath>, Error> {
        let mut alike = Vec::new();
        for wanted in spellings(wanted) {
            for round in 1..=ROUNDS {
                let path = wanted.marked(mark, round);
                match self.look(&path, size)? {
                    Lying::Nothing => break,
                    Lying::Another => {}
                    Lying::Alike => alike.push(path),
                }
            }
            if self.look(&wanted, size)? == Lying::Alike {
                alike.push(wanted);
            }
        }
        Ok(alike)
    }

    /// Looks at a place.
    pub(super) fn look(&self, path: &RelativePath, size: u64) -> Result<Lying, Error> {
        Ok(match self.stat(path)? {
            None => Lying::Nothing,
            Some(stat) if is_regular(&stat) && stat.st_size as u64 == size => Lying::Alike,
            Some(_) => Lying::Another,
        })
    }

    /// The file at a place if it has the expected size and checksum. It is read for that, while `goes_on`, and made durable.
    pub(super) fn lies_there(
        &self,
        path: &RelativePath,
        expected: &Expected,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<PublishedFile>, Error> {
        let fail = |error| Error::io("read", self.absolute(path), error);
        let Some(place) = self.find(path)? else { return Ok(None) };
        let stat = place.stat().map_err(|errno| fail(errno.into()))?;
        let Some(stat) = stat.filter(|stat| is_regular(stat) && stat.st_size as u64 == expected.size) else {
            return Ok(None);
        };
        let file = read_as(&place, &stat, &expected.checksum, goes_on).map_err(fail)?;
        let Some(file) = file else { return Ok(None) };
        file.sync_all().map_err(fail)?;
        calls::sync_folder(&place.directory).map_err(|errno| self.not_durable(path, errno))?;
        Ok(Some(PublishedFile {
            path: path.clone(),
            identity: identity(&stat),
            size: expected.size,
            checksum: Some(expected.checksum.clone()),
            replaces: false,
            adopted: true,
        }))
    }
}

/// The wanted path, and what a disk that accepts only what Windows does has made of it.
fn spellings(wanted: &RelativePath) -> Vec<RelativePath> {
    let portable = |name: &str| Naming::ANY.after(Refusal::Character, name).map(|naming| naming.apply(name));
    let names = wanted.directories().iter().map(String::as_str).chain([wanted.file_name()]);
    let spelled: Vec<String> = names.map(|name| portable(name).unwrap_or_else(|| name.to_owned())).collect();
    let portable = RelativePath::from_segments(spelled);
    if portable == *wanted { vec![portable] } else { vec![wanted.clone(), portable] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_for_by_its_name_and_by_what_a_portable_disk_makes_of_it() {
        let all = |name: &str| {
            let wanted = RelativePath::from_segments(["2026", name]);
            spellings(&wanted).iter().map(RelativePath::to_string).collect::<Vec<_>>()
        };
        assert_eq!(all("film.mp4"), ["2026/film.mp4"]);
        let [wanted, portable] = all("fi:lm.mp4").try_into().unwrap();
        assert_eq!(wanted, "2026/fi:lm.mp4");
        assert!(portable.starts_with("2026/fi") && !portable.contains(':'), "{portable}");
    }
}

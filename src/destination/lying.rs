//! Files that lie at a destination before this program has put them there: made by another tool, or by this program with a
//! database that is lost. One with the expected bytes is not downloaded. It stays its owner's: nothing replaces it.

use super::record::{is_regular, modified_ns, read_as};
use super::{Error, Local, calls};
use crate::model::RelativePath;
use crate::model::delivery::PublishedFile;
use crate::spool::Expected;

/// What is to be seen at a place without reading anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lying {
    /// Nothing.
    Nothing,
    /// It is not the file that is looked for.
    Another,
    /// A file of the same size.
    Alike,
}

impl Local {
    /// Looks at a place.
    pub fn look(&self, path: &RelativePath, size: u64) -> Result<Lying, Error> {
        Ok(match self.stat(path)? {
            None => Lying::Nothing,
            Some(stat) if is_regular(&stat) && stat.st_size as u64 == size => Lying::Alike,
            Some(_) => Lying::Another,
        })
    }

    /// The file at a place if it has the expected size and checksum. It is read for that, and made durable.
    pub fn lies_there(
        &self,
        path: &RelativePath,
        expected: &Expected,
    ) -> Result<Option<PublishedFile>, Error> {
        let fail = |error| Error::io("read", self.absolute(path), error);
        let Some(place) = self.find(path)? else { return Ok(None) };
        let stat = place.stat().map_err(|errno| fail(errno.into()))?;
        let Some(stat) = stat.filter(|stat| is_regular(stat) && stat.st_size as u64 == expected.size) else {
            return Ok(None);
        };
        let Some(file) = read_as(&place, &stat, &expected.checksum).map_err(fail)? else { return Ok(None) };
        file.sync_all().map_err(fail)?;
        calls::sync_folder(&place.directory).map_err(|errno| self.not_durable(path, errno))?;
        Ok(Some(PublishedFile {
            path: path.clone(),
            inode: stat.st_ino,
            size: expected.size,
            modified_ns: modified_ns(&stat),
            checksum: Some(expected.checksum.clone()),
            replaces: false,
            adopted: true,
        }))
    }
}

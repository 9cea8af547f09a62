//! A disk that a few lines of a journal fill.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Result, ensure};

/// The unit of allocation.
const PAGE: usize = 4096;
/// More than a small disk has.
const PAGES_MAX: usize = 4096;

/// A folder on a small disk that is used for nothing else.
#[derive(Clone, Debug)]
pub(crate) struct SmallDisk {
    pub(crate) folder: PathBuf,
}

impl SmallDisk {
    /// Fills the disk except for its last page, and returns a folder for the journals of this namespace.
    pub(crate) fn fill(&self, namespace: &str) -> Result<PathBuf> {
        let journals = self.folder.join(namespace);
        fs::create_dir_all(&journals)?;
        let path = self.folder.join(format!("{namespace}.filler"));
        let mut filler = fs::File::create(&path)?;
        let page = [0; PAGE];
        let mut pages = 0;
        loop {
            match filler.write_all(&page) {
                Ok(()) => pages += 1,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
            ensure!(pages < PAGES_MAX, "{} is not small", self.folder.display());
        }
        filler.set_len(u64::try_from(PAGE * pages.saturating_sub(1))?)?;
        Ok(journals)
    }

    /// Deletes the files of the namespace.
    pub(crate) fn clear(&self, namespace: &str) -> Result<()> {
        fs::remove_file(self.folder.join(format!("{namespace}.filler")))?;
        Ok(fs::remove_dir_all(self.folder.join(namespace))?)
    }
}

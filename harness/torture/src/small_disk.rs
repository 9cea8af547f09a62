//! A disk that is full after a few lines of a journal.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Result, ensure};

/// What a file grows by there.
const PAGE: usize = 4096;
/// A disk with more pages is no small one.
const PAGES_MAX: usize = 4096;

/// Small enough to be full soon, and ours to fill.
#[derive(Clone, Debug)]
pub(crate) struct SmallDisk {
    pub(crate) folder: PathBuf,
}

impl SmallDisk {
    /// Fills it but for its last page, and gives a folder for the journals of this namespace.
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

    /// Gives back what the namespace took.
    pub(crate) fn clear(&self, namespace: &str) -> Result<()> {
        fs::remove_file(self.folder.join(format!("{namespace}.filler")))?;
        Ok(fs::remove_dir_all(self.folder.join(namespace))?)
    }
}

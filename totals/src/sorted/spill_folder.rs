//! The folder of sorted runs. Its files have no names, so that nothing of them is left when the process ends, however it
//! ends; together they take no more than a stated number of bytes.

use std::cell::Cell;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use stitch_common::user_error::UserError;

/// A folder, and the bytes that may be in its files at a time.
#[derive(Clone, Debug)]
pub struct SpillFolder(Rc<Bound>);

#[derive(Debug)]
struct Bound {
    path: PathBuf,
    bytes_max: u64,
    bytes: Cell<u64>,
    most: Cell<u64>,
    runs: Cell<u64>,
}

/// Why sorted runs cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpillError {
    /// The bound is reached.
    #[error("sorted runs need more than the {} MiB that {} may have", bytes_max >> 20, folder.display())]
    Full { folder: PathBuf, bytes_max: u64 },
    /// The folder, or its disk.
    #[error("the folder of sorted runs, {}, cannot be used: {cause}", folder.display())]
    Unusable { folder: PathBuf, cause: String },
    /// What is read is not what was written.
    #[error("a sorted run in {} is not what was written", folder.display())]
    Damaged { folder: PathBuf },
}

impl From<SpillError> for UserError {
    fn from(error: SpillError) -> Self {
        let help = match &error {
            SpillError::Full { .. } => {
                "raise spill_mib_max in [totals], or memory_mib_max: fewer and larger runs are smaller together"
            }
            SpillError::Unusable { .. } => {
                "see its permissions and the free space of its disk, or name another folder as \"spill\" in [totals]"
            }
            SpillError::Damaged { .. } => {
                "see the health of its disk, and run the command again: nothing but this run depended on it"
            }
        };
        Self::new(error, help)
    }
}

impl SpillFolder {
    /// The folder at `path`, created for this user alone if it is missing, for at most `bytes_max` bytes.
    ///
    /// # Errors
    /// No file can be created in it.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self, SpillError> {
        let folder = Self(Rc::new(Bound {
            path: path.to_owned(),
            bytes_max,
            bytes: Cell::new(0),
            most: Cell::new(0),
            runs: Cell::new(0),
        }));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(path)
            .map_err(|cause| folder.unusable(&cause))?;
        folder.file()?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The bytes that are in use.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    /// The most bytes that were in use at a time.
    pub fn bytes_most(&self) -> u64 {
        self.0.most.get()
    }

    /// How many sorted runs were begun in it: none if memory was enough. A file of totals is no run.
    pub fn runs(&self) -> u64 {
        self.0.runs.get()
    }

    pub(super) fn count_run(&self) {
        self.0.runs.set(self.0.runs.get() + 1);
    }

    /// A new file without a name.
    pub fn file(&self) -> Result<File, SpillError> {
        tempfile::tempfile_in(&self.0.path).map_err(|cause| self.unusable(&cause))
    }

    /// Takes `bytes` of the bound.
    pub fn reserve(&self, bytes: u64) -> Result<SpillReservation, SpillError> {
        let mut reservation = SpillReservation {
            folder: self.clone(),
            bytes: 0,
        };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    pub fn unusable(&self, cause: &io::Error) -> SpillError {
        SpillError::Unusable {
            folder: self.0.path.clone(),
            cause: cause.to_string(),
        }
    }

    pub(super) fn damaged(&self) -> SpillError {
        SpillError::Damaged {
            folder: self.0.path.clone(),
        }
    }
}

/// Bytes of the folder's bound; given back when it is dropped.
#[derive(Debug)]
pub struct SpillReservation {
    folder: SpillFolder,
    bytes: u64,
}

impl SpillReservation {
    /// Takes `more` bytes.
    pub fn grow(&mut self, more: u64) -> Result<(), SpillError> {
        let bound = &self.folder.0;
        let bytes = bound.bytes.get().saturating_add(more);
        if bytes > bound.bytes_max {
            return Err(SpillError::Full {
                folder: bound.path.clone(),
                bytes_max: bound.bytes_max,
            });
        }
        bound.bytes.set(bytes);
        bound.most.set(bound.most.get().max(bytes));
        self.bytes += more;
        Ok(())
    }
}

impl Drop for SpillReservation {
    fn drop(&mut self) {
        let bound = &self.folder.0;
        bound.bytes.set(bound.bytes.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reservations_never_exceed_the_bound_together_and_are_given_back() {
        let path = tempfile::tempdir().unwrap();
        let folder = SpillFolder::open(path.path(), 10).unwrap();
        let mut one = folder.reserve(6).unwrap();
        let two = folder.reserve(4).unwrap();
        let full = one.grow(1).unwrap_err();
        assert!(
            matches!(full, SpillError::Full { bytes_max: 10, .. }),
            "{full}"
        );
        drop(two);
        one.grow(1).unwrap();
        assert_eq!((folder.bytes(), folder.bytes_most()), (7, 10));
        drop(one);
        assert_eq!(folder.bytes(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_refused_with_its_name() {
        let path = tempfile::tempdir().unwrap();
        let file = path.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = UserError::from(SpillFolder::open(&file, 10).unwrap_err());
        assert!(
            refused.message.contains(&file.display().to_string()),
            "{refused}"
        );
        assert!(refused.help.contains("\"spill\" in [totals]"), "{refused}");
    }

    #[test]
    fn a_folder_that_is_made_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let path = tempfile::tempdir().unwrap();
        let made = path.path().join("a/b");
        SpillFolder::open(&made, 10).unwrap();
        for folder in [&made, &path.path().join("a")] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        }
    }

    #[test]
    fn files_have_no_names() {
        let path = tempfile::tempdir().unwrap();
        let folder = SpillFolder::open(path.path(), 10).unwrap();
        let file = folder.file().unwrap();
        assert_eq!(fs::read_dir(path.path()).unwrap().count(), 0);
        drop(file);
    }
}

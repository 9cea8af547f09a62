//! A plan file while it is being written. Wrong cells go to disk as they are found, so a large plan takes no memory. It
//! becomes a plan file as a whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use stitch_common::cell::Cell;
use stitch_common::user_error::UserError;

use crate::plan::file::{Plan, encode_head, encode_line};
use crate::plan::judge::Drift;

/// An unfinished plan. Its files are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    cells: TemporaryFile,
    checksum: crc32fast::Hasher,
}

#[derive(Debug)]
struct TemporaryFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl TemporaryFile {
    /// Creates a file next to `path` that only its owner can read. Its name cannot be foreseen, and an existing file or
    /// link is never opened.
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = BufWriter::new(options.open(&path)?);
        Ok(Self { path, file })
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a part of a plan file was not removed");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Draft {
    /// Starts a plan file at `path`.
    pub(crate) fn begin(path: &Path) -> Result<Self, UserError> {
        let create = || {
            // Renaming a file to the name of a folder would fail after the audit.
            if path.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            TemporaryFile::create(path)
        };
        let cells = create().map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            cells,
            checksum: crc32fast::Hasher::new(),
        })
    }

    /// Adds a wrong cell.
    pub(crate) fn add(&mut self, cell: &Cell, drift: Drift) -> Result<(), UserError> {
        let line = encode_line(cell, drift);
        self.checksum.update(&line);
        let written = self.cells.file.write_all(&line);
        written.map_err(|error| unwritable(&self.path, &error))
    }

    /// Writes the plan with its cells to its path, in place of a former one.
    ///
    /// # Errors
    /// It cannot be written; a former plan is still there.
    pub(crate) fn finish(mut self, plan: &Plan) -> Result<(), UserError> {
        let written = self.replace(plan);
        written.map_err(|error| unwritable(&self.path, &error))
    }

    fn replace(&mut self, plan: &Plan) -> io::Result<()> {
        let mut whole = TemporaryFile::create(&self.path)?;
        whole.file.write_all(&encode_head(plan, &self.checksum))?;
        let cells = &mut self.cells.file;
        cells.flush()?;
        cells.get_mut().seek(SeekFrom::Start(0))?;
        io::copy(cells.get_mut(), &mut whole.file)?;
        whole.file.flush()?;
        whole.file.get_ref().sync_all()?;
        fs::rename(&whole.path, &self.path)?;
        // Without it a crash of the machine could lose the file's name.
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn unwritable(path: &Path, error: &io::Error) -> UserError {
    let message = format!("the plan cannot be written to {}: {error}", path.display());
    UserError::new(message, "name a writable file with --plan-file")
}

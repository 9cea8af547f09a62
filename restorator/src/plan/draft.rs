//! A plan file while it is being written: wrong cells are put on disk as they are found, so a plan of many takes no
//! memory. It becomes a plan as a whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use stitch_common::cell::Cell;
use stitch_common::user_error::UserError;

use crate::plan::file::{Plan, encoded_head, encoded_line};
use crate::plan::judge::Drift;

/// The cells of a plan that is not finished. What is on disk is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    cells: Part,
    checksum: crc32fast::Hasher,
}

/// A file that does not stay.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Part {
    fn create(path: &Path, suffix: &str) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = BufWriter::new(options.open(&path)?);
        Ok(Self { path, file })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "part of a plan stays behind");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Draft {
    /// A plan that will be at `path`.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub(crate) fn begin(path: &Path) -> Result<Self, UserError> {
        let cells = Part::create(path, ".cells").map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            cells,
            checksum: crc32fast::Hasher::new(),
        })
    }

    /// One more wrong cell.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn add(&mut self, cell: &Cell, drift: Drift) -> Result<(), UserError> {
        let line = encoded_line(cell, drift);
        self.checksum.update(&line);
        let written = self.cells.file.write_all(&line);
        written.map_err(|error| unwritable(&self.path, &error))
    }

    /// Puts the plan of these cells in its place.
    ///
    /// # Errors
    /// It cannot be written; what was there before is still there.
    pub(crate) fn finish(mut self, plan: &Plan) -> Result<(), UserError> {
        let finished = self.put_in_place(plan);
        finished.map_err(|error| unwritable(&self.path, &error))
    }

    fn put_in_place(&mut self, plan: &Plan) -> io::Result<()> {
        let mut whole = Part::create(&self.path, ".part")?;
        whole.file.write_all(&encoded_head(plan, &self.checksum))?;
        let cells = &mut self.cells.file;
        cells.flush()?;
        cells.get_mut().seek(SeekFrom::Start(0))?;
        io::copy(cells.get_mut(), &mut whole.file)?;
        whole.file.flush()?;
        whole.file.get_ref().sync_all()?;
        fs::rename(&whole.path, &self.path)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> UserError {
    let what = format!("the plan cannot be written to {}: {error}", path.display());
    UserError::new(what, "name a file that can be written by --plan-file")
}

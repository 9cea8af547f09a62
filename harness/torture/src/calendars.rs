//! Calendars that are stepped. Every process of a history in which that happens has one of its own, by a library that is
//! loaded into it (`deploy/lib/calendar.c`) and reads from a file how far it is ahead of the machine's.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The calendars of a history.
#[derive(Clone, Debug)]
pub(crate) struct Calendars {
    /// Given to each process by `LD_PRELOAD`.
    pub(crate) library: PathBuf,
    /// Where the files are kept.
    pub(crate) folder: PathBuf,
}

impl Calendars {
    /// What gives a process the calendar of this name, which shows the machine's time until it is stepped.
    pub(crate) fn environment(&self, name: &str) -> Result<[(String, String); 2]> {
        let file = self.file(name);
        if !file.exists() {
            fs::write(&file, 0_i64.to_ne_bytes())?;
        }
        let variable = |name: &str, value: &PathBuf| (name.to_owned(), value.display().to_string());
        Ok([
            variable("LD_PRELOAD", &self.library),
            variable("STEPPED_CALENDAR", &file),
        ])
    }

    /// From now on it is ahead by so many seconds; behind, if below 0.
    pub(crate) fn step(&self, name: &str, ahead_s: i64) -> Result<()> {
        let path = self.file(name);
        // In place: processes have it mapped.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        Ok(file.write_all(&ahead_s.to_ne_bytes())?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.calendar"))
    }
}

//! Wall clocks that are stepped. In a history with this fault every process has a wall clock of its own: a preloaded
//! library (`deploy/lib/clock.c`) reads from a file how far it is ahead of the machine's.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The wall clocks of a history.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    /// Preloaded into each process.
    pub(crate) library: PathBuf,
    /// The folder of the clocks' files.
    pub(crate) folder: PathBuf,
}

impl Clocks {
    /// The environment of a process with the clock of this name; until it is stepped, it has the machine's time.
    pub(crate) fn environment(&self, name: &str) -> Result<[(String, String); 2]> {
        let file = self.file(name);
        if !file.exists() {
            fs::write(&file, 0_i64.to_ne_bytes())?;
        }
        let variable = |name: &str, value: &PathBuf| (name.to_owned(), value.display().to_string());
        Ok([
            variable("LD_PRELOAD", &self.library),
            variable("STEPPED_CLOCK", &file),
        ])
    }

    /// Sets a clock ahead of the machine's by this many seconds; behind, if negative.
    pub(crate) fn step(&self, name: &str, ahead_s: i64) -> Result<()> {
        let path = self.file(name);
        // In place: processes have mapped the file.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        Ok(file.write_all(&ahead_s.to_ne_bytes())?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.clock"))
    }
}

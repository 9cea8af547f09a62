//! A disk that is soon full: one of a test's own, which only root can mount, or a folder on one that several tests share.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The unit of allocation.
const PAGE: usize = 4096;
const FILLER: &str = "filler";

/// More than a small disk has.
const BYTES_MAX: u64 = 64 << 20;

/// A folder on a small disk that is used for nothing else.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    /// Whether it is a file system that dropping this unmounts.
    is_own: bool,
}

impl SmallDisk {
    /// Mounts a disk of this size on `folder`, which is created.
    pub fn mount(folder: &Path, kib: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k,mode=700")])
            .arg("stitch-small-disk")
            .arg(folder)
            .output()
            .context("mount")?;
        ensure!(
            output.status.success(),
            "this test needs a disk that it can fill, and root to mount one: mount -t tmpfs {}: {}",
            folder.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let folder = folder.to_owned();
        let is_own = true;
        Ok(Self { folder, is_own })
    }

    /// A folder on a disk that is mounted, which is created. Others may fill the same disk.
    pub fn shared(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let is_own = false;
        Ok(Self { folder, is_own })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes until no more than `pages` of 4 KiB fit.
    pub fn fill(&self, pages: u64) -> Result<()> {
        let mut filler = File::create(self.folder.join(FILLER))?;
        loop {
            match filler.write_all(&[0; PAGE]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
            let length = filler.metadata()?.len();
            ensure!(length < BYTES_MAX, "{} is not small", self.folder.display());
        }
        let bytes = u64::try_from(PAGE)? * pages;
        let length = filler.metadata()?.len();
        Ok(filler.set_len(length.saturating_sub(bytes))?)
    }

    /// Deletes what filled it.
    pub fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.folder.join(FILLER))?)
    }

    /// Every file on it but what filled it.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path),
                }
            }
        }
        files.retain(|path| *path != self.folder.join(FILLER));
        Ok(files)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        // Also while a process has a file open there.
        Command::new("umount")
            .arg("--lazy")
            .arg(&self.folder)
            .status()
            .ok();
    }
}

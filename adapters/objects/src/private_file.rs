//! Objects in a folder of this machine, which other users may not read: they have keys of events. The client would leave
//! that to the umask, so files are written here, under the names that it uses and in the same order: beside the name, flushed,
//! then linked or renamed to it, and the folder flushed.
//!
//! Files have mode 0600 and folders 0700, whatever the umask is. A folder with the set-group-ID bit has been given to a group
//! of readers: what is made in it may be read by that group (0640, 2750), and the bit goes on to folders below.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use stitch_common::ports::Put;

const SET_GROUP_ID: u32 = 0o2000;
const OWN_FILE: u32 = 0o600;
const OWN_FOLDER: u32 = 0o700;
const GROUP_FILE: u32 = 0o640;
const GROUP_FOLDER: u32 = 0o2750;

/// Writes what `content` has to `path`, if nothing is there.
pub(super) fn create(path: &Path, content: impl Read) -> io::Result<Put> {
    let beside = Beside::write(path, content)?;
    match fs::hard_link(&beside.path, path) {
        Ok(()) => {
            beside.remove()?;
            flush_folder_of(path)?;
            Ok(Put::Created)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            beside.remove()?;
            Ok(Put::Exists)
        }
        Err(error) => Err(error),
    }
}

/// Writes what `content` has to `path`, whatever is there.
pub(super) fn replace(path: &Path, content: impl Read) -> io::Result<()> {
    let mut beside = Beside::write(path, content)?;
    fs::rename(&beside.path, path)?;
    beside.is_there = false;
    flush_folder_of(path)
}

/// A file beside the one that it becomes. The client does not list such names.
struct Beside {
    path: PathBuf,
    is_there: bool,
}

impl Beside {
    fn write(path: &Path, mut content: impl Read) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(path);
        create_folders(folder)?;
        let (beside, mut file) = Self::open(path)?;
        if is_of_a_group(folder)? {
            file.set_permissions(Permissions::from_mode(GROUP_FILE))?;
        }
        io::copy(&mut content, &mut file)?;
        file.sync_all()?;
        Ok(beside)
    }

    /// A name that no other writer has, nor one that was killed has left.
    fn open(path: &Path) -> io::Result<(Self, File)> {
        let mut number = 1_u64;
        loop {
            let mut name = path.as_os_str().to_owned();
            name.push(format!("#{number}"));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(OWN_FILE);
            match options.open(&name) {
                Ok(file) => {
                    let path = name.into();
                    let beside = Self {
                        path,
                        is_there: true,
                    };
                    return Ok((beside, file));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn remove(mut self) -> io::Result<()> {
        self.is_there = false;
        fs::remove_file(&self.path)
    }
}

impl Drop for Beside {
    /// Of a write that failed, which reports why.
    fn drop(&mut self) {
        if self.is_there {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Creates `folder` and those above it, as far as they are missing.
fn create_folders(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut next = Some(folder);
    while let Some(folder) = next.filter(|folder| !folder.exists()) {
        missing.push(folder);
        next = folder.parent();
    }
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(OWN_FOLDER).create(folder) {
            Ok(()) => {}
            // Another writer was first.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        // The bit comes from the folder above.
        if is_of_a_group(folder)? {
            fs::set_permissions(folder, Permissions::from_mode(GROUP_FOLDER))?;
        }
        flush_folder_of(folder)?;
    }
    Ok(())
}

fn is_of_a_group(folder: &Path) -> io::Result<bool> {
    Ok(fs::metadata(folder)?.permissions().mode() & SET_GROUP_ID != 0)
}

/// The name of `path` outlives a power loss.
fn flush_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

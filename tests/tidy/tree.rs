//! Reads the files that git tracks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A tracked file of text.
pub(crate) struct TrackedFile {
    /// Relative to the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TrackedFile {
    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    /// Whether it is a script, by its first line or its extension.
    pub(crate) fn is_script(&self) -> bool {
        let extension = Path::new(&self.path).extension();
        self.text.starts_with("#!") || extension.is_some_and(|e| e == "sh" || e == "py")
    }
}

/// The repository's root.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root
        .context("the tests have a folder of their own")?
        .to_owned())
}

/// Reads a file, tracked or not.
pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root()?.join(path)).with_context(|| path.to_owned())
}

/// Reads every tracked text file.
pub(crate) fn tracked() -> Result<Vec<TrackedFile>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root()?)
        .output()
        .context("git is needed to list the files")?;
    ensure!(listed.status.success(), "not a git checkout");
    let names = String::from_utf8(listed.stdout)?;
    let mut files = Vec::new();
    for path in names.split_terminator('\0') {
        // Skips files that are deleted but still listed, and files that are not text.
        if let Ok(text) = read(path) {
            files.push(TrackedFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    ensure!(!files.is_empty(), "git lists no file");
    Ok(files)
}

/// Fails with the rule and a line for each offence, if there are any.
#[track_caller]
pub(crate) fn none(offences: Vec<String>, rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

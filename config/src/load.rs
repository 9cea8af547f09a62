//! Loads the configuration: from which file, and with which variables of the environment.

use std::io;
use std::path::{Path, PathBuf};

use crate::Config;
use crate::document::Document;
use crate::environment::Environment;
use crate::overrides::Override;
use crate::section::Section;
use stitch_common::user_error::UserError;

/// The variable with the file, if the command line does not name one.
const FILE_VARIABLE: &str = "STITCH_CONFIG";
/// The default file.
const FILE_DEFAULT: &str = "stitch.toml";

impl Config {
    /// Loads the configuration from `file`, else from the file that `STITCH_CONFIG` names, else from `stitch.toml`, with
    /// the overrides of the environment.
    ///
    /// # Errors
    /// Names file, line and key, or the variable, and has help.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, UserError> {
        let variable = environment.get(FILE_VARIABLE);
        let path = match (file, variable) {
            (Some(file), _) => file.to_owned(),
            (None, Some(name)) if !name.is_empty() => PathBuf::from(name),
            (None, _) => PathBuf::from(FILE_DEFAULT),
        };
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        Self::parse(&path.display().to_string(), &text, environment)
    }

    /// Parses the configuration from the text of the file `name`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &str, environment: &Environment) -> Result<Self, UserError> {
        let overrides = Override::all(environment)?;
        let (document, entries) = Document::parse(name, text, &overrides)?;
        Self::read(Section::root(&document, entries))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> UserError {
    let help = if error.kind() == io::ErrorKind::NotFound {
        "name the file by --config FILE or STITCH_CONFIG; deploy/stitch.toml is an annotated example to copy"
    } else {
        "make it a TOML file in UTF-8 that this user may read, or name another by --config FILE or STITCH_CONFIG"
    };
    let what = format!(
        "the configuration {} cannot be read: {error}",
        path.display()
    );
    UserError::new(what, help)
}

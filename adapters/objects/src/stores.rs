//! The object stores of archive and totals, as they are configured.

use std::path::Path;

use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::ObjectFolder;

/// The folder of totals when no URL is configured.
const FOLDER: &str = "stitch-totals";

/// The store of the archive, if there is one.
///
/// # Errors
/// It cannot be opened.
pub fn archive(config: &Config) -> Result<Option<ObjectFolder>, UserError> {
    let url = config.archive.url.as_ref();
    url.map(|url| ObjectFolder::open("archive.url", url))
        .transpose()
}

/// The store of totals: by default the archive's, and without one a folder on this machine.
///
/// # Errors
/// It cannot be opened.
pub fn totals(config: &Config) -> Result<ObjectFolder, UserError> {
    match (&config.totals.url, archive(config)?) {
        (Some(url), _) => ObjectFolder::open("totals.url", url),
        (None, Some(archive)) => Ok(archive),
        (None, None) => ObjectFolder::local(Path::new(FOLDER)),
    }
}

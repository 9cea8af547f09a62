//! The part of `check` that is about object stores: that of the archive, and that of totals. Only a small object is put, by
//! which a store shows that it does not overwrite.

use stitch_app::check::Findings;
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_objects::{ObjectFolder, stores};

use crate::names;
use crate::store_check::{self, HELP};

/// What messages call the two.
const OF_ARCHIVE: &str = "archive";
const OF_TOTALS: &str = "totals";

/// Checks the store of an archive that is written.
pub async fn written_archive(config: &Config) -> Findings {
    let mut findings = Findings::default();
    match stores::archive(config) {
        Ok(Some(store)) => is_written(OF_ARCHIVE, &store, &names::check(), &mut findings).await,
        Ok(None) => findings.failed_for(OF_ARCHIVE, missing()),
        Err(error) => findings.failed_for(OF_ARCHIVE, error),
    }
    findings
}

/// Checks the store of totals, which are read and written, by the object `name`, and that of the archive, if there is one that
/// they are made from.
pub async fn totals(config: &Config, name: &ObjectName) -> Findings {
    let mut findings = Findings::default();
    match stores::archive(config) {
        Ok(Some(store)) => is_read(OF_ARCHIVE, &store, &names::check(), &mut findings).await,
        Ok(None) => {}
        Err(error) => findings.failed_for(OF_ARCHIVE, error),
    }
    match stores::totals(config) {
        Ok(store) => is_written(OF_TOTALS, &store, name, &mut findings).await,
        Err(error) => findings.failed_for(OF_TOTALS, error),
    }
    findings
}

/// The error of a program that needs an archive.
pub(crate) fn missing() -> UserError {
    UserError::new(
        "no archive is configured: archive.url is missing",
        "add url = \"file:///var/lib/stitch\" to [archive], or s3://bucket/prefix",
    )
}

async fn is_written(
    subject: &str,
    store: &ObjectFolder,
    name: &ObjectName,
    findings: &mut Findings,
) {
    match store_check::overwrites(store, name).await {
        Ok(false) => findings.ok(format!(
            "{subject}: {}: objects are put only if they are absent",
            store.place()
        )),
        Ok(true) => {
            findings.wrong(
                format!("{subject}: {} has overwritten {name} instead of putting it only if it is absent", store.place()),
                HELP,
            );
        }
        Err(error) => return findings.failed_for(subject, error),
    }
    is_read(subject, store, name, findings).await;
}

async fn is_read(subject: &str, store: &ObjectFolder, name: &ObjectName, findings: &mut Findings) {
    let read = async {
        // Below the object, where nothing is: the list of everything may be long.
        store.list(name, None).await?;
        match store.get(name).await {
            Ok(_) | Err(ObjectError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    };
    match read.await {
        Ok(()) => findings.ok(format!(
            "{subject}: {} can be listed and read",
            store.place()
        )),
        Err(error) => findings.failed_for(subject, error),
    }
}

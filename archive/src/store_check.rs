//! Checks that a store puts an object only if it is absent. One that overwrites would let two archivers lose records, and two
//! builds of totals contradict each other.

use bytes::Bytes;
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore, Put};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use crate::reader::Archive;

/// What to do about a store that overwrites.
pub const HELP: &str = "use a store that honours If-None-Match: *, or a newer version of it; \
                        see docs/operations/archive.md, \"Where the archive lives\"";

/// Checks the store of an archive.
///
/// # Errors
/// The store cannot be reached or refuses, or it wrote one object twice.
pub(crate) async fn check<S: ObjectStore>(archive: &Archive<S>) -> Result<(), ServerFailure> {
    let name = archive.folder().check();
    if overwrites(archive.store(), &name).await? {
        let why = format!("the store overwrote {name} instead of putting it only if it is absent");
        return Err(UserError::new(ObjectError::Refused(why), HELP).into());
    }
    Ok(())
}

/// Puts the object `name` twice; returns whether the store wrote it twice.
///
/// # Errors
/// The store cannot be reached, or refuses.
pub async fn overwrites(store: &impl ObjectStore, name: &ObjectName) -> Result<bool, ObjectError> {
    let put = async |content: &'static str| store.put_if_absent(name, Bytes::from(content)).await;
    put("This object is put only if it is absent.\n").await?;
    let again =
        put("The store overwrites objects: neither archive nor totals can be kept there.\n");
    Ok(again.await? == Put::Created)
}

//! Checks that a store puts an object only if it is absent. One that overwrites would let two archivers lose records.

use bytes::Bytes;
use stitch_common::ports::{ObjectError, ObjectStore, Put};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use crate::reader::Archive;

/// Puts one object twice.
///
/// # Errors
/// The store cannot be reached or refuses, or it wrote the object twice.
pub(crate) async fn check<S: ObjectStore>(archive: &Archive<S>) -> Result<(), ServerFailure> {
    let name = archive.folder().check();
    let put = async |content: &'static str| {
        let put = archive.store().put_if_absent(&name, Bytes::from(content));
        put.await
    };
    put("This object is put only if it is absent.\n").await?;
    match put("The store overwrites objects: no archive can be kept there.\n").await? {
        Put::Exists => Ok(()),
        Put::Created => {
            let why =
                format!("the store overwrote {name} instead of putting it only if it is absent");
            let help = "use a store that honours If-None-Match: *, or a newer version of it; \
                        see docs/operations/archive.md, \"Where the archive lives\"";
            Err(UserError::new(ObjectError::Refused(why), help).into())
        }
    }
}

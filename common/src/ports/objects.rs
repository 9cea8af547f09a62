//! The port to an object store: whole objects under names, in a folder of a file system or in a bucket. Nothing is
//! appended to, nothing is renamed; an object is there whole or not at all.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use crate::user_error::UserError;

/// An object store, from one URL on.
///
/// A future that is dropped may or may not have had its effect.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait ObjectStore {
    /// The URL that names of objects are below, as errors name it.
    fn place(&self) -> &str;

    /// Writes an object unless there is one of this name. Of several writers at once exactly one hears
    /// [`Put::Created`], or none of them, if an answer was lost. The whole content is held in memory: at most 256 MiB.
    ///
    /// # Errors
    /// [`ObjectError::Ambiguous`]: it may have been written, or may still be. Read it to learn which.
    async fn put_if_absent(&self, name: &ObjectName, content: Bytes) -> Result<Put, ObjectError>;

    /// Writes an object from a local file of any size, instead of one that may be there.
    ///
    /// # Errors
    /// [`ObjectError::Ambiguous`]: it may have been written, or may still be. May be repeated.
    async fn put_file(&self, name: &ObjectName, file: &Path) -> Result<(), ObjectError>;

    /// The whole object.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`], or an error of any request. May be repeated.
    async fn get(&self, name: &ObjectName) -> Result<Vec<u8>, ObjectError>;

    /// These bytes of the object.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`], or an error of any request; a range beyond the object's end is
    /// [`ObjectError::Refused`]. May be repeated.
    async fn get_range(&self, name: &ObjectName, bytes: Range<u64>)
    -> Result<Vec<u8>, ObjectError>;

    /// The object's size in bytes; `None` if there is no such object. Unlike a list, it never lags behind a write.
    ///
    /// # Errors
    /// An error of any request. May be repeated.
    async fn size(&self, name: &ObjectName) -> Result<Option<u64>, ObjectError>;

    /// The objects whose names begin with `folder` and a `/`, in the order of names, those behind `after` only. Objects
    /// that were written a moment ago may be missing.
    ///
    /// # Errors
    /// An error of any request. May be repeated.
    async fn list(
        &self,
        folder: &ObjectName,
        after: Option<&ObjectName>,
    ) -> Result<Vec<ObjectEntry>, ObjectError>;

    /// Deletes the object, if there is one.
    ///
    /// # Errors
    /// An error of any request. May be repeated.
    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError>;
}

/// The name of an object below the store's URL: segments with `/` between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(pub String);

impl ObjectName {
    /// The name `segment` in the folder `self`.
    #[must_use]
    pub fn join(&self, segment: impl fmt::Display) -> Self {
        Self(format!("{}/{segment}", self.0))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size: u64,
}

/// What became of [`ObjectStore::put_if_absent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object was written.
    Created,
    /// There was one of this name, and it was left as it is.
    Exists,
}

/// An error of an object store; the variants differ in what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no {0}")]
    NotFound(ObjectName),
    /// A write may have happened, may still happen, or never will.
    #[error("it is not known whether the object store has {name} now: {cause}")]
    Ambiguous {
        /// The object.
        name: ObjectName,
        /// The store's words.
        cause: String,
    },
    /// No answer, or a refusal that may pass: a retry can help.
    #[error("the object store could not answer: {0}")]
    Unavailable(String),
    /// Fails until something changes: URL, credentials, permission, a full disk, a store that cannot put if absent.
    #[error("the object store refused: {0}")]
    Refused(String),
}

const STORE_AWAY: &str = "see whether the object store can be reached at its \"url\"";
const STORE_REFUSED: &str =
    "see the \"url\", its credentials and their permissions, and free space";
const OBJECT_MISSING: &str = "see whether it was deleted, and whether \"url\" is the right one";

impl From<ObjectError> for UserError {
    fn from(error: ObjectError) -> Self {
        let help = match &error {
            ObjectError::NotFound(_) => OBJECT_MISSING,
            ObjectError::Ambiguous { .. } | ObjectError::Unavailable(_) => STORE_AWAY,
            ObjectError::Refused(_) => STORE_REFUSED,
        };
        Self::new(error, help)
    }
}

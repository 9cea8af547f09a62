//! The adapter to object stores: implements [`ObjectStore`] for a folder of a file system (`file://`), S3 (`s3://`),
//! Google Cloud Storage (`gs://`) and Azure Blob Storage (`az://`). The only crate that depends on their client.
//!
//! [`ObjectFolder::open`] takes a URL; credentials come from the environment, under the names that the client documents
//! (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, …).
//!
//! [`stores`] opens those that are configured. `location` reads the URL; `error` sorts the client's errors by what a caller can
//! do; `private_file` writes local objects.
//!
//! **Durability.** A local object is written to a file beside its name, which is flushed, and linked to the name, which fails if
//! the name is taken; then the folder is flushed. So an object is there whole or not at all, and after the answer it outlives
//! a power loss.

mod error;
mod location;
mod private_file;
pub mod stores;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore as Client, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use stitch_common::ports::{ObjectEntry, ObjectError, ObjectName, ObjectStore, Put};
use stitch_common::user_error::UserError;
use tokio::io::AsyncReadExt;

use self::error::{is_refusal, read_error, write_error};
use self::location::Location;

/// Bytes of one part of a file that is uploaded; S3 takes at most 10,000 parts.
const PART_BYTES: usize = 16 << 20;
/// The name of the file system in errors, as the client spells it.
const LOCAL: &str = "LocalFileSystem";
/// Parts of a file in flight at once.
const PARTS_IN_FLIGHT_MAX: usize = 4;

/// The objects below one URL. Clones share the client.
#[derive(Clone)]
pub struct ObjectFolder {
    client: Arc<dyn Client>,
    /// The same client, if it is that of a folder of this machine.
    local: Option<Arc<LocalFileSystem>>,
    root: Path,
    /// The URL, for errors.
    place: Arc<str>,
}

impl fmt::Debug for ObjectFolder {
    /// The client has credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectFolder").field(&self.place).finish()
    }
}

impl ObjectFolder {
    /// The objects below `url`. Sends nothing yet. `key` is the configuration's name of the URL, for errors.
    ///
    /// # Errors
    /// The URL is none, or its store is unknown or lacks a setting; the message names it.
    pub fn open(key: &str, url: &str) -> Result<Self, UserError> {
        let variables = std::env::vars_os();
        let utf8 = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables: Vec<_> = variables.filter_map(utf8).collect();
        Self::open_with(key, url, &variables)
    }

    /// As [`ObjectFolder::open`], with these variables instead of the environment's.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        key: &str,
        url: &str,
        variables: &[(String, String)],
    ) -> Result<Self, UserError> {
        let place = url.trim_end_matches('/').into();
        Ok(Self::at(location::open(key, url, variables)?, place))
    }

    /// The objects in a folder of this machine, which is created with the first one.
    ///
    /// # Errors
    /// The path is none.
    pub fn local(folder: &FilePath) -> Result<Self, UserError> {
        let root = std::path::absolute(folder)
            .map_err(|error| error.to_string())
            .and_then(|path| Path::from_absolute_path(path).map_err(|error| error.to_string()));
        let root = root.map_err(|error| {
            let message = format!("the folder {}: {error}", folder.display());
            UserError::new(message, "name another folder")
        })?;
        let place = format!("file:///{root}").into();
        Ok(Self::at(Location::local(root), place))
    }

    fn at(location: Location, place: Arc<str>) -> Self {
        let Location {
            client,
            local,
            root,
        } = location;
        Self {
            client,
            local,
            root,
            place,
        }
    }

    /// Writes the file at `path` of this machine by `write`, on a thread that may block.
    async fn write_local<T: Send + 'static>(
        &self,
        local: &LocalFileSystem,
        path: &Path,
        write: impl FnOnce(&FilePath) -> io::Result<T> + Send + 'static,
    ) -> object_store::Result<T> {
        let file = local.path_to_filesystem(path)?;
        let written = tokio::task::spawn_blocking(move || write(&file)).await?;
        written.map_err(|error| object_store::Error::Generic {
            store: LOCAL,
            source: Box::new(error),
        })
    }

    fn path(&self, name: &ObjectName) -> Result<Path, ObjectError> {
        let text = format!("{}/{}", self.root, name.0);
        Path::parse(&text).map_err(|error| ObjectError::Refused(format!("{text}: {error}")))
    }

    /// The name of the object at `path`, which is below the root.
    fn name(&self, path: &Path) -> Option<ObjectName> {
        let below = path.as_ref().strip_prefix(self.root.as_ref())?;
        Some(ObjectName(below.trim_start_matches('/').to_owned()))
    }

    /// An error of a list. The client does not say whether the store has answered it; a request for one object shows that.
    async fn list_error(
        &self,
        folder: &ObjectName,
        prefix: &Path,
        error: object_store::Error,
    ) -> ObjectError {
        let error = read_error(&self.place, folder, error);
        let ObjectError::Unavailable(cause) = error else {
            return error;
        };
        match self.client.head(prefix).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => ObjectError::Refused(cause),
            Err(error) if is_refusal(&error) => ObjectError::Refused(cause),
            Err(_) => ObjectError::Unavailable(cause),
        }
    }

    async fn upload(&self, name: &ObjectName, file: &FilePath) -> Result<(), ObjectError> {
        let path = self.path(name)?;
        let unreadable = |error: io::Error| {
            ObjectError::Refused(format!("{} cannot be read: {error}", file.display()))
        };
        if let Some(local) = &self.local {
            let content = std::fs::File::open(file).map_err(unreadable)?;
            let put = move |path: &FilePath| private_file::replace(path, content);
            let written = self.write_local(local, &path, put).await;
            return written.map_err(|error| write_error(&self.place, name, error));
        }
        let mut file = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let upload = self.client.put_multipart(&path).await;
        let upload = upload.map_err(|error| write_error(&self.place, name, error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut part = vec![0; PART_BYTES];
        loop {
            let read = file.read(&mut part).await.map_err(unreadable)?;
            if read == 0 {
                break;
            }
            upload
                .wait_for_capacity(PARTS_IN_FLIGHT_MAX)
                .await
                .map_err(|error| write_error(&self.place, name, error))?;
            upload.write(&part[..read]);
        }
        upload
            .finish()
            .await
            .map_err(|error| write_error(&self.place, name, error))?;
        Ok(())
    }
}

impl ObjectStore for ObjectFolder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn put_if_absent(&self, name: &ObjectName, content: Bytes) -> Result<Put, ObjectError> {
        let path = self.path(name)?;
        if let Some(local) = &self.local {
            let put = move |path: &FilePath| private_file::create(path, content.as_ref());
            let written = self.write_local(local, &path, put).await;
            return written.map_err(|error| write_error(&self.place, name, error));
        }
        let payload = PutPayload::from(content);
        match self
            .client
            .put_opts(&path, payload, PutMode::Create.into())
            .await
        {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(error) => Err(write_error(&self.place, name, error)),
        }
    }

    async fn put_file(&self, name: &ObjectName, file: &FilePath) -> Result<(), ObjectError> {
        self.upload(name, file).await
    }

    async fn get(&self, name: &ObjectName) -> Result<Vec<u8>, ObjectError> {
        let path = self.path(name)?;
        let read = async { self.client.get(&path).await?.bytes().await };
        let bytes = read
            .await
            .map_err(|error| read_error(&self.place, name, error))?;
        Ok(bytes.into())
    }

    async fn get_range(
        &self,
        name: &ObjectName,
        bytes: Range<u64>,
    ) -> Result<Vec<u8>, ObjectError> {
        let path = self.path(name)?;
        let wanted = bytes.end.saturating_sub(bytes.start);
        let read = self.client.get_range(&path, bytes.clone()).await;
        let read = read.map_err(|error| read_error(&self.place, name, error))?;
        // Stores answer a range that begins in the object and ends beyond it with what there is.
        if u64::try_from(read.len()).is_ok_and(|read| read == wanted) {
            return Ok(read.into());
        }
        let (from, to) = (bytes.start, bytes.end);
        Err(ObjectError::Refused(format!(
            "{name} has no bytes {from} to {to}: it is shorter"
        )))
    }

    async fn size(&self, name: &ObjectName) -> Result<Option<u64>, ObjectError> {
        let path = self.path(name)?;
        match self.client.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(read_error(&self.place, name, error)),
        }
    }

    async fn list(
        &self,
        folder: &ObjectName,
        after: Option<&ObjectName>,
    ) -> Result<Vec<ObjectEntry>, ObjectError> {
        let prefix = self.path(folder)?;
        let listed = match after {
            Some(after) => {
                let after = self.path(after)?;
                self.client.list_with_offset(Some(&prefix), &after)
            }
            None => self.client.list(Some(&prefix)),
        };
        let listed: Vec<_> = match listed.try_collect().await {
            Ok(listed) => listed,
            Err(error) => return Err(self.list_error(folder, &prefix, error).await),
        };
        let entry = |meta: object_store::ObjectMeta| {
            let name = self.name(&meta.location)?;
            let size = meta.size;
            Some(ObjectEntry { name, size })
        };
        let mut entries: Vec<_> = listed.into_iter().filter_map(entry).collect();
        // A file system has no order of its own.
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        let path = self.path(name)?;
        match self.client.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(read_error(&self.place, name, error)),
        }
    }
}

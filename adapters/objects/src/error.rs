//! What an error of the client means, by what the caller can do.

use std::error::Error as StdError;
use std::io::ErrorKind;

use object_store::Error;
use stitch_common::ports::{ObjectError, ObjectName};

/// An error of a request that writes nothing, or may be repeated, for the object `name` below the URL `place`.
pub(super) fn read_error(place: &str, name: &ObjectName, error: Error) -> ObjectError {
    if matches!(error, Error::NotFound { .. }) {
        return ObjectError::NotFound(name.clone());
    }
    let cause = format!("{place}/{name}: {}", text(&error));
    if is_refusal(&error) {
        ObjectError::Refused(cause)
    } else {
        ObjectError::Unavailable(cause)
    }
}

/// An error of a write. The client repeats requests by itself, so that even a last attempt that found no connection may
/// follow one that arrived: only what the store itself has refused was certainly not written.
pub(super) fn write_error(place: &str, name: &ObjectName, error: Error) -> ObjectError {
    let unsupported = matches!(
        error,
        Error::NotImplemented { .. } | Error::NotSupported { .. }
    );
    if unsupported {
        let cause = text(&error);
        return ObjectError::Refused(format!(
            "{place} cannot put an object only if it is absent, which an archive needs: {cause}"
        ));
    }
    if is_refusal(&error) {
        return ObjectError::Refused(format!("{place}/{name}: {}", text(&error)));
    }
    ObjectError::Ambiguous {
        name: name.clone(),
        cause: format!("{place}: {}", text(&error)),
    }
}

pub(super) fn is_refusal(error: &Error) -> bool {
    match error {
        // Of a write: there is no such bucket.
        Error::NotFound { .. }
        | Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::UnknownConfigurationKey { .. } => true,
        Error::Generic { source, .. } => is_refused_by_system(source.as_ref()),
        Error::JoinError { .. }
        | Error::AlreadyExists { .. }
        | Error::Precondition { .. }
        | Error::NotModified { .. }
        | _ => false,
    }
}

/// Whether the file system refused: the folder cannot be made or written, or is full.
fn is_refused_by_system(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::FileTooLarge
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
                    | ErrorKind::NotADirectory
                    | ErrorKind::IsADirectory
                    | ErrorKind::NotFound
                    | ErrorKind::InvalidFilename
            );
        }
        next = error.source();
    }
    false
}

/// The error in one line. The client repeats causes in its texts; it names no credentials, and not always the place: a full
/// disk has none.
fn text(error: &Error) -> String {
    error.to_string().replace('\n', " ")
}

//! Secrets: as they stand in the configuration, or in a file of their own, as Docker and Kubernetes mount them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::section::{Given, Section};
use stitch_common::secret::Secret;
use stitch_common::user_error::UserError;

/// A file with a secret is no larger.
const BYTES_MAX: u64 = 64 << 10;

/// Who logs in: to Cassandra, or to ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

impl Section<'_> {
    /// A secret, if it is configured: as it stands, but for a control character, which is a line end that came with it from
    /// a file.
    fn secret(&mut self, key: &str) -> Result<Option<Secret>, UserError> {
        let Some(Given { value, source }) = self.string(key)? else {
            return Ok(None);
        };
        match problem(&value) {
            None => Ok(Some(Secret::new(value))),
            Some(problem) => Err(self.wrong(key, source, problem, "correct it, or leave it out")),
        }
    }

    /// The secret `key`, or the content of the file that `file` names. Not both.
    fn secret_or_file(&mut self, key: &str, file: &str) -> Result<Option<Secret>, UserError> {
        let secret = self.secret(key)?;
        let Some(Given {
            value: path,
            source,
        }) = self.optional_given(file, &format!("{file} = \"/run/secrets/…\""))?
        else {
            return Ok(secret);
        };
        if secret.is_some() {
            let what = format!(" is given beside {key}");
            return Err(self.wrong(file, source, &what, "keep one of the two"));
        }
        let text = self.content(file, &path, source)?;
        match problem(&text) {
            None => Ok(Some(Secret::new(text))),
            Some(problem) => {
                let what = format!(": {path}{problem}");
                let help = "write the secret into it, in one line";
                Err(self.wrong(file, source, &what, help))
            }
        }
    }

    /// The text of the file `path` that `key` names, without the line end after it.
    pub(super) fn content(
        &self,
        key: &str,
        path: &str,
        source: crate::document::Source<'_>,
    ) -> Result<String, UserError> {
        let text = read_secret_file(Path::new(path)).map_err(|error| {
            let what = format!(": {path} cannot be read: {error}");
            let help = "make it a text file that this user may read, or name another";
            self.wrong(key, source, &what, help)
        })?;
        if text.starts_with('\u{feff}') {
            let what = format!(": {path} begins with a byte order mark");
            let help = "save it as UTF-8 without one: it would be part of the secret";
            return Err(self.wrong(key, source, &what, help));
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    /// User and password, of which neither may be configured without the other. The password is taken as it stands.
    pub(super) fn credentials(
        &mut self,
        user: &str,
        password: &str,
        file: &str,
    ) -> Result<Option<Credentials>, UserError> {
        let example = |key: &str| format!("{key} = \"…\"");
        match (
            self.optional_text(user, &example(user))?,
            self.secret_or_file(password, file)?,
        ) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => Ok(Some(Credentials { user, password })),
            (Some(_), None) => {
                let either = format!("{} or {}", example(file), example(password));
                Err(self.missing(password, &either))
            }
            (None, Some(_)) => Err(self.missing(user, &example(user))),
        }
    }

    /// ZooKeeper's scheme `digest` with its user and password. Its identities are `user:password`.
    pub(super) fn digest(
        &mut self,
        auth: &str,
        user: &str,
        password: &str,
        file: &str,
    ) -> Result<Option<Credentials>, UserError> {
        let scheme = self.string(auth)?;
        let credentials = self.credentials(user, password, file)?;
        let Some(Given {
            value: scheme,
            source,
        }) = scheme
        else {
            return match credentials {
                None => Ok(None),
                Some(_) => Err(self.missing(auth, "auth = \"digest\"")),
            };
        };
        if scheme != "digest" {
            // It is not shown: some write the user and the password there, as ZooKeeper's own client takes them.
            return Err(self.wrong(
                auth,
                source,
                " is no way to authenticate that Stitch has",
                "use auth = \"digest\", or leave it out",
            ));
        }
        let Some(credentials) = credentials else {
            return Err(self.missing(user, "user = \"stitch\" and password_file = \"…\""));
        };
        if credentials.user.contains(':') {
            let help = "ZooKeeper separates it from the password by a colon: choose another";
            return Err(self.wrong(user, source, " has a colon", help));
        }
        Ok(Some(credentials))
    }
}

fn problem(secret: &str) -> Option<&'static str> {
    if secret.is_empty() {
        Some(" is empty")
    } else if secret.contains(|c: char| c.is_control()) {
        Some(" has a line end or another control character")
    } else {
        None
    }
}

/// Reads a regular file: a device or a pipe could be without end.
///
/// # Errors
/// It cannot be read, is no regular file, is too large, or is not UTF-8.
pub fn read_secret_file(path: &Path) -> io::Result<String> {
    let kind = std::fs::metadata(path)?;
    if !kind.is_file() || kind.len() > BYTES_MAX {
        let words = format!("it is no file of at most {BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let mut text = String::new();
    File::open(path)?
        .take(BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

//! The file of tokens, one a line:
//!
//! ```text
//! # name   scopes           secret
//! cdn      read             9f2c3a…
//! ops      read,operate     77b01d…
//! links-1  sign             c04e55…
//! 3f9a0b…
//! ```
//!
//! A line with one word is a token that opens everything. `sign` makes a key for links: the first one signs new links, all
//! of them verify. No error shows a secret, nor a word that may be one.

use std::path::Path;

use stitch_common::secret::Secret;
use stitch_common::user_error::UserError;
use stitch_config::{read_secret_file, token_problem};

use crate::access_scope::AccessScopes;
use crate::access_token::{AccessToken, AccessTokens};
use crate::signed_link::SigningKey;

/// In place of scopes: the secret is a key for links.
const SIGN: &str = "sign";
/// A shorter key could be found from a link by trying.
const SIGNING_SECRET_BYTES_MIN: usize = 32;
const SECRET_TWICE: &str = " has the secret of another token";
const NAME_BYTES_MAX: usize = 64;
const HELP: &str = "write one token a line: a name, scopes (read, operate, metrics, with commas and without blanks; or sign) \
     and a secret of 16 letters or more, for example by `openssl rand -hex 32`; or the secret alone, which opens everything";

/// Reads the file `path`, and adds what it has to `tokens`. Blocks for as long as the file system does.
///
/// # Errors
/// The file cannot be read, has no token, or a line of it is wrong. It is named, and nothing of it is shown.
pub fn read(path: &Path, tokens: AccessTokens) -> Result<AccessTokens, UserError> {
    let name = path.display();
    let text = read_secret_file(path).map_err(|error| {
        let help =
            "make it a text file that this user may read, or name another by api.tokens_file";
        UserError::new(format!("{name} cannot be read: {error}"), help)
    })?;
    parse(&name.to_string(), &text, tokens)
}

/// Adds the tokens in `text`, which is that of the file `name`, to `tokens`.
///
/// # Errors
/// As of [`read`].
pub fn parse(name: &str, text: &str, tokens: AccessTokens) -> Result<AccessTokens, UserError> {
    added(text, tokens).map_err(|problem| UserError::new(format!("{name}{problem}"), HELP))
}

/// `tokens` with those in `text`, or what is wrong, as the rest of a sentence that begins with the file.
fn added(text: &str, mut tokens: AccessTokens) -> Result<AccessTokens, String> {
    let mut found = false;
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        found = true;
        let number = index + 1;
        add(&mut tokens, &words, number).map_err(|what| format!(", line {number}{what}"))?;
    }
    if found {
        Ok(tokens)
    } else {
        Err(" has no token: without any, everyone could read".to_owned())
    }
}

fn add(tokens: &mut AccessTokens, words: &[&str], number: usize) -> Result<(), String> {
    let (name, scopes, secret) = match words {
        [secret] => (format!("line-{number}"), None, *secret),
        [name, scopes, secret] => (checked_name(name)?, Some(*scopes), *secret),
        words => return Err(format!(" has {} words, and not one or three", words.len())),
    };
    if tokens.names().any(|other| other == name) {
        return Err(" has a name that a token before it has".to_owned());
    }
    token_problem(secret).map_err(|(what, _)| what.to_owned())?;
    let is_token = tokens.find(secret.as_bytes()).is_some();
    if scopes == Some(SIGN) {
        if secret.len() < SIGNING_SECRET_BYTES_MIN {
            return Err(format!(
                " has a key for links of less than {SIGNING_SECRET_BYTES_MIN} letters"
            ));
        }
        if is_token {
            return Err(SECRET_TWICE.to_owned());
        }
        tokens.signing_keys.push(SigningKey::new(name, secret));
        return Ok(());
    }
    let scopes = match scopes {
        None => AccessScopes::all(),
        Some(text) => AccessScopes::parse(text).ok_or(" has a second word that names no scopes")?,
    };
    // Who has a token could sign links with it, which its scopes may not open.
    let signs = |key: &SigningKey| *key == SigningKey::new(key.name().to_owned(), secret);
    if is_token || tokens.signing_keys.iter().any(signs) {
        return Err(SECRET_TWICE.to_owned());
    }
    tokens.tokens.push(AccessToken {
        name,
        scopes,
        secret: Secret::new(secret.to_owned()),
    });
    Ok(())
}

/// Names are in addresses, logs and problems.
fn checked_name(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.len() <= NAME_BYTES_MAX && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err(" has a name that is not of letters, digits, - and _".to_owned())
}

#[cfg(test)]
mod tests;

//! Signed links: the right to read the counts of one key until a date, without a token.
//!
//! A signature is `<name of the key>.<end, in seconds since 1970>.<HMAC-SHA-256 (RFC 2104), base64url>`. It covers the
//! name of the key and the namespace, counter, key and end, each with its length, so that it opens nothing else, and no later;
//! a key that is gone is not replaced by another one with the same secret.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Distinguishes these signatures from whatever else may be signed by the same key.
const PURPOSE: &[u8] = b"stitch link 1";

/// What a link opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTarget<'a> {
    /// The namespace, so that servers of several may share a key.
    pub namespace: &'a str,
    /// The name of the counter.
    pub counter: &'a str,
    /// The key.
    pub key: &'a str,
}

impl LinkTarget<'_> {
    fn message(&self, signed_by: &str, until_s: i64) -> Vec<u8> {
        let mut message = PURPOSE.to_vec();
        for part in [signed_by, self.namespace, self.counter, self.key] {
            message.extend((part.len() as u64).to_be_bytes());
            message.extend(part.as_bytes());
        }
        message.extend(until_s.to_be_bytes());
        message
    }
}

/// A key that signs links.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    key: hmac::Key,
}

impl SigningKey {
    pub(crate) fn new(name: String, secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self { name, key }
    }

    /// Its name, which signatures show.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signature of a link to `target` that ends `until_s` seconds after 1970.
    #[must_use]
    pub fn sign(&self, target: &LinkTarget<'_>, until_s: i64) -> String {
        let tag = hmac::sign(&self.key, &target.message(&self.name, until_s));
        format!("{}.{until_s}.{}", self.name, URL_SAFE_NO_PAD.encode(tag))
    }
}

impl PartialEq for SigningKey {
    /// By what it signs: the key itself is not shown by its library.
    fn eq(&self, other: &Self) -> bool {
        let tag = |key: &Self| hmac::sign(&key.key, PURPOSE);
        self.name == other.name && tag(self).as_ref() == tag(other).as_ref()
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A signature that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedLink {
    /// When it ends, in seconds since 1970.
    pub until_s: i64,
}

/// Why a signature opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// It is none, or of something else, or of a key that is not known (any more).
    Unknown,
    /// It was right, and has ended at this second since 1970.
    Ended(i64),
}

impl SignedLink {
    /// Verifies that `signature` opens `target` at `now_s`, by one of `keys`.
    ///
    /// # Errors
    /// It does not; that it has ended is said only of one that was right.
    pub fn verify(
        signature: &str,
        target: &LinkTarget<'_>,
        now_s: i64,
        keys: &[SigningKey],
    ) -> Result<Self, LinkError> {
        let mut parts = signature.splitn(3, '.');
        let (Some(name), Some(until), Some(tag)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(LinkError::Unknown);
        };
        let until_s: i64 = until.parse().map_err(|_| LinkError::Unknown)?;
        // As it was signed: `+5`, `05` and `-0` are numbers, and other texts.
        if until_s.to_string() != until {
            return Err(LinkError::Unknown);
        }
        let tag = URL_SAFE_NO_PAD.decode(tag);
        let tag = tag.map_err(|_| LinkError::Unknown)?;
        let message = target.message(name, until_s);
        // In constant time, by the library.
        let signed = |key: &SigningKey| hmac::verify(&key.key, &message, &tag).is_ok();
        if !keys.iter().any(|key| key.name == name && signed(key)) {
            return Err(LinkError::Unknown);
        }
        if until_s <= now_s {
            return Err(LinkError::Ended(until_s));
        }
        Ok(Self { until_s })
    }
}

#[cfg(test)]
mod tests;

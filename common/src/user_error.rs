//! What is wrong, and what to do about it: the error that a user reads.

use std::fmt;

use serde::Serialize;

/// Something that the user has to know, and what to do about it. Everything that ends a command with an error is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserError {
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl UserError {
    /// Names what is wrong and the way out.
    #[must_use]
    pub fn new(message: impl fmt::Display, help: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            help: help.to_string(),
        }
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (help: {})", self.message, self.help)
    }
}

impl std::error::Error for UserError {}

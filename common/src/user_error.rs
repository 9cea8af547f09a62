//! The error that a user reads: what is wrong, and what to do about it.

use std::fmt;

use serde::Serialize;

/// An error for the user. Every error that ends a command is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserError {
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl UserError {
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

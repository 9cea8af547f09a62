//! Who may read what of the API: access tokens with names and scopes, and signed links, each to the page of one key.
//!
//! Start with [`token_file`], the format of the file that both come from. [`AccessTokens`] finds the token that a request
//! carries, and [`SigningKey`] signs and verifies links. [`TokenFilePoller`] reads the file again when it has changed. Which
//! address needs which scope is the API's business.

pub mod access_scope;
pub mod access_token;
pub mod signed_link;
pub mod token_file;
pub mod token_file_poller;

pub use access_scope::{AccessScope, AccessScopes};
pub use access_token::{AccessToken, AccessTokens};
pub use signed_link::{LinkError, LinkTarget, SignedLink, SigningKey};
pub use token_file_poller::TokenFilePoller;

//! The tokens of a server, and which of them a request carries.

use stitch_common::secret::Secret;
use subtle::ConstantTimeEq;

use crate::access_scope::AccessScopes;
use crate::signed_link::SigningKey;

/// A token: its name is for people, logs and problems; who sends its secret is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Unique among the tokens of a server.
    pub name: String,
    /// What it opens.
    pub scopes: AccessScopes,
    pub(crate) secret: Secret,
}

/// All that a server knows of who may read: tokens, and the keys that links are signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessTokens {
    pub(crate) tokens: Vec<AccessToken>,
    pub(crate) signing_keys: Vec<SigningKey>,
}

impl AccessTokens {
    /// Tokens that open everything, without names of their own.
    #[must_use]
    pub fn unnamed(secrets: &[Secret]) -> Self {
        let token = |(index, secret): (usize, &Secret)| AccessToken {
            name: format!("tokens[{index}]"),
            scopes: AccessScopes::all(),
            secret: secret.clone(),
        };
        Self {
            tokens: secrets.iter().enumerate().map(token).collect(),
            signing_keys: Vec::new(),
        }
    }

    /// Whether everyone may read everything: there is no token, and no key.
    #[must_use]
    pub const fn are_open(&self) -> bool {
        self.tokens.is_empty() && self.signing_keys.is_empty()
    }

    /// The token with this secret. Compares with every token, in constant time: how long it takes does not reveal how
    /// much of a secret was right.
    #[must_use]
    pub fn find(&self, secret: &[u8]) -> Option<&AccessToken> {
        let equal =
            |token: &AccessToken| bool::from(token.secret.expose().as_bytes().ct_eq(secret));
        let mut found = None;
        for token in &self.tokens {
            if equal(token) {
                found = Some(token);
            }
        }
        found
    }

    /// The names of tokens and keys, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.iter().map(|token| &*token.name);
        tokens.chain(self.signing_keys.iter().map(SigningKey::name))
    }

    /// The keys that links may be signed with, the one for new links first.
    #[must_use]
    pub fn signing_keys(&self) -> &[SigningKey] {
        &self.signing_keys
    }
}

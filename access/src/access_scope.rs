//! What a token opens.

use std::fmt;

/// A part of the API that a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessScope {
    /// Counts, and the pages that show them.
    Read,
    /// The operator's page, and the status as JSON.
    Operate,
    /// The metrics of the server.
    Metrics,
}

impl AccessScope {
    /// Every scope.
    pub const EVERY: [Self; 3] = [Self::Read, Self::Operate, Self::Metrics];

    /// Its name in the file of tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Metrics => "metrics",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Operate => 2,
            Self::Metrics => 4,
        }
    }
}

/// A set of scopes, shown as in the file of tokens: `read,metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessScopes(u8);

impl AccessScopes {
    /// Every scope: what a token without a name opens.
    #[must_use]
    pub fn all() -> Self {
        Self(AccessScope::EVERY.map(AccessScope::bit).iter().sum())
    }

    /// The scopes in `text`, separated by commas; `None` if one is unknown, repeated or missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut scopes = Self::default();
        for name in text.split(',') {
            let scope = AccessScope::EVERY
                .into_iter()
                .find(|scope| scope.name() == name)?;
            if scopes.has(scope) {
                return None;
            }
            scopes.0 |= scope.bit();
        }
        Some(scopes)
    }

    #[must_use]
    pub const fn has(self, scope: AccessScope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl fmt::Display for AccessScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = AccessScope::EVERY.into_iter();
        let names: Vec<_> = scopes
            .filter(|scope| self.has(*scope))
            .map(AccessScope::name)
            .collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_shown() {
        for text in [
            "read",
            "operate",
            "metrics",
            "read,metrics",
            "read,operate,metrics",
        ] {
            assert_eq!(AccessScopes::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(AccessScopes::all().to_string(), "read,operate,metrics");
        for text in [
            "",
            "write",
            "read,",
            ",read",
            "read,read",
            "READ",
            "read, metrics",
        ] {
            assert_eq!(AccessScopes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_set_has_what_it_was_made_of_and_nothing_else() {
        let scopes = AccessScopes::parse("read,metrics").unwrap();
        let has = AccessScope::EVERY.map(|scope| scopes.has(scope));
        assert_eq!(has, [true, false, true]);
    }
}

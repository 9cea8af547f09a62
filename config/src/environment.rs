//! The variables of the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// The variables of the environment that may concern the configuration: those that start with `STITCH_`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// Values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        let utf8 = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(
            utf8.filter(|(name, _)| name.starts_with("STITCH_"))
                .collect(),
        )
    }

    pub(super) fn get(&self, variable: &str) -> Option<&OsString> {
        self.0.get(variable)
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(variables: T) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.into());
        Self(variables.into_iter().map(owned).collect())
    }
}

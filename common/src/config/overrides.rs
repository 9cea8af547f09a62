//! Values from the environment: `STITCH_CASSANDRA__NODES='["a:1"]'` is the key `nodes` of `[cassandra]`.
//!
//! `__` separates levels; case is ignored; the value is a TOML value, or else a string. Shells do not allow dots in
//! names, so below `kafka.client` a single `_` is a dot: `STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS`.
//!
//! Other programs have variables that start with `STITCH_` too (`deploy/local`, and Kubernetes sets some for a service
//! of that name), so only names with `__`, or of a value at the top level, are overrides.

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::load::Environment;
use crate::user_error::UserError;

const PREFIX: &str = "STITCH_";
/// The values outside of any section.
const TOP_LEVEL: [&str; 2] = ["namespace", "counter"];
/// `section_key` of the required keys: a single `_` for `__` in one of them must not go unnoticed.
const MISTAKEN: [&str; 6] = [
    "zookeeper_connect",
    "cassandra_nodes",
    "cassandra_keyspace",
    "kafka_topic",
    "kafka_client_bootstrap_servers",
    "kafka_client_group_id",
];
/// The one property of librdkafka with `_` in its name.
const WITH_UNDERSCORE: &str = "log_level";

/// One value from the environment.
#[derive(Debug)]
pub(super) struct Override {
    /// The variable.
    pub(super) variable: String,
    /// The key, level by level.
    pub(super) path: Vec<String>,
    text: String,
}

impl Override {
    /// The overrides in `environment`.
    pub(super) fn all(environment: &Environment) -> Result<Vec<Self>, UserError> {
        let mut overrides: Vec<Self> = Vec::new();
        for (variable, value) in environment.variables() {
            let Some(path) = path(variable)? else {
                continue;
            };
            if let Some(other) = overrides.iter().find(|other| other.path == path) {
                let what = format!("{variable} and {} set the same key", other.variable);
                return Err(UserError::new(what, "unset one of them"));
            }
            let text = value.to_str().ok_or_else(|| {
                UserError::new(format!("{variable} is not UTF-8"), "correct or unset it")
            })?;
            overrides.push(Self {
                variable: variable.to_owned(),
                path,
                text: text.to_owned(),
            });
        }
        Ok(overrides)
    }

    /// Its text as a TOML value, or else as a string.
    pub(super) fn value(&self) -> Spanned<DeValue<'_>> {
        let string = || DeValue::String(DeString::from(self.text.as_str()));
        DeValue::parse(self.text.trim()).unwrap_or_else(|_| Spanned::new(0..0, string()))
    }
}

/// The key that `variable` sets; `None` if it is not an override.
fn path(variable: &str) -> Result<Option<Vec<String>>, UserError> {
    let Some(name) = variable.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let name = name.to_lowercase();
    if !name.contains("__") {
        if MISTAKEN.contains(&name.as_str()) {
            let what = format!("{variable} sets nothing: two underscores separate levels");
            let help = format!("write {PREFIX}{}", with_levels(&name));
            return Err(UserError::new(what, help));
        }
        return Ok(TOP_LEVEL.contains(&name.as_str()).then(|| vec![name]));
    }
    let mut levels: Vec<String> = name.split("__").map(str::to_owned).collect();
    if levels.iter().any(String::is_empty) {
        let what = format!("{variable} names no key: a level is empty");
        let help = "write STITCH_SECTION__KEY, for example STITCH_CASSANDRA__NODES";
        return Err(UserError::new(what, help));
    }
    if let [kafka, client, property] = levels.as_mut_slice()
        && kafka == "kafka"
        && client == "client"
        && property != WITH_UNDERSCORE
    {
        *property = property.replace('_', ".");
    }
    Ok(Some(levels))
}

fn with_levels(name: &str) -> String {
    let levels = match name.strip_prefix("kafka_client_") {
        Some(property) => format!("kafka__client__{property}"),
        None => name.replacen('_', "__", 1),
    };
    levels.to_uppercase()
}

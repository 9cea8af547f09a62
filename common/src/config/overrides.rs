//! Values from the environment: `STITCH_CASSANDRA__NODES='["a:1"]'` is the key `nodes` of `[cassandra]`.
//!
//! `__` separates levels; upper and lower case do not matter; the value is a TOML value, or else a string. Shells take
//! no dots in names, so below `kafka.client` a single `_` is a dot: `STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS`.
//!
//! Other programs have variables that start with `STITCH_` too (`deploy/local`, and Kubernetes makes some for a
//! service of that name), so only what has `__`, or names a value at the top level, is ours.

use std::ops::Range;

use toml::de::DeTable;

use super::load::Environment;
use crate::user_error::UserError;

const PREFIX: &str = "STITCH_";
/// The values that stand in no section.
const TOP_LEVEL: [&str; 2] = ["namespace", "counter"];
/// `section_key` of the keys that must be given: writing one `_` for `__` there must not go unnoticed.
const MISTAKEN: [&str; 6] = [
    "zookeeper_connect",
    "cassandra_nodes",
    "cassandra_keyspace",
    "kafka_topic",
    "kafka_client_bootstrap_servers",
    "kafka_client_group_id",
];
/// The one property of librdkafka whose name has `_` for itself.
const WITH_UNDERSCORE: &str = "log_level";

/// One value from the environment.
#[derive(Debug)]
pub(super) struct Override {
    /// The variable.
    pub(super) variable: String,
    /// The key, level by level.
    pub(super) path: Vec<String>,
    /// The text `v = VALUE`, behind as many blanks as put it at a place of its own: behind the file's text and the
    /// other variables', so that a span tells where a value comes from.
    pub(super) text: String,
    start: usize,
}

impl Override {
    /// The values that `environment` gives, placed behind a file of `length` bytes.
    pub(super) fn all(environment: &Environment, length: usize) -> Result<Vec<Self>, UserError> {
        let mut overrides: Vec<Self> = Vec::new();
        let mut start = length + 1;
        for (variable, value) in environment.variables() {
            let Some(path) = path(variable)? else {
                continue;
            };
            if let Some(other) = overrides.iter().find(|other| other.path == path) {
                let what = format!("{variable} and {} set the same key", other.variable);
                return Err(UserError::new(what, "unset one of them"));
            }
            let value = value.to_str().ok_or_else(|| {
                UserError::new(format!("{variable} is not UTF-8"), "correct or unset it")
            })?;
            let text = format!("{:start$}v = {}", "", toml_value(value));
            let end = text.len();
            overrides.push(Self {
                variable: variable.to_owned(),
                path,
                text,
                start,
            });
            start = end + 1;
        }
        Ok(overrides)
    }

    /// Where its value stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.text.len()
    }
}

/// The key that `variable` sets; `None` if it is none of ours.
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
        let ours = TOP_LEVEL.contains(&name.as_str());
        return Ok(ours.then(|| vec![name]));
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

/// `value` if it is one TOML value, else the same as a TOML string.
fn toml_value(value: &str) -> String {
    let document = format!("v = {value}");
    let one = DeTable::parse(&document).is_ok_and(|table| table.get_ref().len() == 1);
    if one && !value.trim().is_empty() {
        value.to_owned()
    } else {
        toml::Value::String(value.to_owned()).to_string()
    }
}

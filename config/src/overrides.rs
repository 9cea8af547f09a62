//! Values from the environment: `STITCH_CASSANDRA__NODES=a:1,b:1` is the key `nodes` of `[cassandra]`.
//!
//! `__` separates levels; case is ignored. Where the key wants a string, the variable is that string, character by
//! character: quotes, dates and numbers mean nothing there. Where it wants a number, it is a TOML integer; where it wants a
//! list of strings, they are separated by commas, or it is a TOML array; the counters are a TOML array of tables. Shells do
//! not allow dots in names, so below `kafka.client` a single `_` is a dot: `STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS`.
//!
//! Other programs have variables that start with `STITCH_` too (`deploy/local`, and Kubernetes sets some for a service
//! of that name), so only names with `__`, or of a value at the top level, are overrides.

use crate::environment::Environment;
use stitch_common::user_error::UserError;

/// The ending of the key that names the file of a secret.
pub(super) const FILE_SUFFIX: &str = "_file";

const PREFIX: &str = "STITCH_";
/// The values outside of any section.
const TOP_LEVEL: [&str; 2] = ["namespace", "counter"];
/// How variables of properties of librdkafka begin if a `_` is missing. With these endings they are Kubernetes', of a
/// service of such a name.
const PROPERTY: &str = "kafka_client_";
const OF_A_SERVICE: [&str; 3] = ["service_host", "service_port", "port"];
/// The one property of librdkafka with `_` in its name.
const WITH_UNDERSCORE: &str = "log_level";

/// One value from the environment. It may be a secret, so it has no `Debug`.
pub(super) struct Override {
    /// The variable.
    pub(super) variable: String,
    /// The key, level by level.
    pub(super) path: Vec<String>,
    /// The value.
    pub(super) text: String,
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
}

/// The key that `variable` sets; `None` if it is not an override.
fn path(variable: &str) -> Result<Option<Vec<String>>, UserError> {
    let Some(name) = variable.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let name = name.to_lowercase();
    if !name.contains("__") {
        if let Some(meant) = mistaken(&name) {
            let what = format!("{variable} sets nothing: two underscores separate levels");
            let help = format!("write {PREFIX}{}", meant.to_uppercase());
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
        // A secret in a file: STITCH_KAFKA__CLIENT__SASL_PASSWORD_FILE.
        *property = match property.strip_suffix(FILE_SUFFIX) {
            Some(secret) => format!("{}{FILE_SUFFIX}", secret.replace('_', ".")),
            None => property.replace('_', "."),
        };
    }
    Ok(Some(levels))
}

/// What `name` would be with two underscores between its levels, if that is a key: one underscore must not go unnoticed.
fn mistaken(name: &str) -> Option<String> {
    if let Some(property) = name.strip_prefix(PROPERTY) {
        let foreign = OF_A_SERVICE.iter().any(|of| property.starts_with(of));
        return (!foreign).then(|| format!("kafka__client__{property}"));
    }
    let (section, key) = name.split_once('_')?;
    let (_, keys) = crate::SECTIONS
        .iter()
        .find(|(known, _)| *known == section)?;
    keys.contains(&key).then(|| format!("{section}__{key}"))
}

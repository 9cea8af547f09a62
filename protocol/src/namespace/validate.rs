//! Whether a process may work in a namespace: asked before it becomes a member, which ZooKeeper then allows only if
//! `/definition` is still the one that was agreed with.

use std::collections::BTreeMap;

use crate::definition_node::{self, Defined, NamespaceRecord};
use crate::{NamespaceSession, log_node};
use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::definition::Definitions;
use stitch_common::offset::Partition;
use stitch_common::ports::{
    Cql, EventLog, Fingerprint, LogError, LogIdentity, Session, StoreError,
};
use stitch_common::user_error::UserError;

use super::identity::{self, ObservedNamespace};

/// That this process and the namespace agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedNamespace {
    /// `/definition`; its version is what joining checks.
    pub defined: Defined,
    /// The log and the table as they were found.
    pub found: ObservedNamespace,
    /// The partitions whose log has lost its beginning: what they add up to cannot be told any more.
    pub trimmed: Vec<Partition>,
}

/// Why they do not agree; variants by what follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// ZooKeeper could not be asked.
    #[error(transparent)]
    Coordination(#[from] crate::Error),
    /// Kafka could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Cassandra could not be asked, or the table is not the namespace's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They differ, or there is no namespace: a person must act.
    #[error(transparent)]
    Disagreement(UserError),
}

impl From<Error> for UserError {
    fn from(error: Error) -> Self {
        match error {
            Error::Coordination(error) => error.into(),
            Error::Log(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Disagreement(failure) => failure,
        }
    }
}

/// Compares the configuration, the log and the table with the namespace. Changes nothing.
///
/// # Errors
/// As [`Error`] says; a disagreement names every difference.
pub async fn validate<S: Session, C: Clock, Q: Cql, L: EventLog>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    log: &L,
    config: &Config,
) -> Result<ValidatedNamespace, Error> {
    let Some(defined) = definition_node::read(session).await? else {
        let what = format!("the namespace \"{}\" is not initialised", config.namespace);
        let help = "run `stitch-processor init`";
        return Err(Error::Disagreement(UserError::new(what, help)));
    };
    let recorded = &defined.record;
    if let Some(difference) = definitions_differ(config, &recorded.definitions) {
        return Err(Error::Disagreement(difference.failure(config)));
    }
    // Before the log is looked at: whoever keeps a record meanwhile has seen one that this look may have missed.
    let first_records = log_node::read_all(session).await?;
    let found = ObservedNamespace {
        log: log.identity().await?,
        bounds: log.bounds(&log.partitions().await?).await?,
        table: cql.table().await?,
    };
    if let Some(difference) = identity_differs(&found, recorded, &first_records) {
        return Err(Error::Disagreement(difference.failure(config)));
    }
    let trimmed = identity::trimmed(&found, recorded, &first_records);
    Ok(ValidatedNamespace {
        defined,
        found,
        trimmed,
    })
}

/// Keeps the first record of each partition that none is known of, so that a topic that is made anew is told from this
/// one. For a process that counts: once it has joined, and again now and then, since a topic may be empty at first.
///
/// # Errors
/// ZooKeeper could not be asked.
pub async fn remember_log<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    log: &LogIdentity,
) -> Result<(), crate::Error> {
    let known = log_node::read_all(session).await?;
    for (partition, first_record) in &log.fingerprints {
        if !known.contains_key(partition) {
            log_node::keep(session, *partition, first_record).await?;
        }
    }
    Ok(())
}

/// How a configuration differs from the namespace that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// A line for each difference.
    pub lines: Vec<String>,
    /// What to do.
    pub help: String,
}

impl Mismatch {
    /// As the error of a program of this configuration.
    #[must_use]
    pub fn failure(&self, config: &Config) -> UserError {
        let (namespace, lines) = (&config.namespace, self.lines.join("; "));
        let what =
            format!("this configuration differs from the namespace \"{namespace}\": {lines}");
        UserError::new(what, &self.help)
    }
}

/// How the configured definitions differ from the recorded ones; `None` if they agree.
#[must_use]
pub fn definitions_differ(config: &Config, recorded: &Definitions) -> Option<Mismatch> {
    let lines = config.definitions.differences(recorded);
    let help = match config.definitions.only_adds_to(recorded) {
        Some(added) => {
            let names: Vec<_> = added.iter().map(|name| &*name.0).collect();
            format!(
                "to take up {}: run `stitch-processor init --update`, restart every processor with this configuration, and \
                 count the past by `stitch-restorator run --now --counter NAME`",
                names.join(" and ")
            )
        }
        None => "use the configuration that the namespace was made with; other definitions need a namespace, a \
                 keyspace and a group of their own"
            .to_owned(),
    };
    (!lines.is_empty()).then_some(Mismatch { lines, help })
}

/// How log and table differ from the recorded ones; `None` if they agree.
#[must_use]
pub fn identity_differs(
    found: &ObservedNamespace,
    recorded: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
) -> Option<Mismatch> {
    let lines = identity::differences(found, recorded, first_records);
    let help = "point kafka and cassandra at the log and the table of this namespace; another log or another table \
                   needs a namespace, a keyspace and a group of its own";
    (!lines.is_empty()).then(|| Mismatch {
        lines,
        help: help.to_owned(),
    })
}

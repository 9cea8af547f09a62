//! Compares a process's configuration, log and table with the namespace, before it becomes a member; ZooKeeper lets it
//! join only if `/definition` is still the one that was read.

use std::collections::BTreeMap;

use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::offset::Partition;
use stitch_common::ports::{
    Cql, EventLog, Fingerprint, LogError, LogIdentity, Session, StoreError,
};
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::Config;

use super::identity::{self, ObservedNamespace};
use crate::definition_node::{self, NamespaceRecord, StoredDefinition};
use crate::{NamespaceSession, log_node};

/// A namespace that this process's configuration, log and table agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedNamespace {
    /// `/definition`; joining checks its version.
    pub definition: StoredDefinition,
    /// The log and the table as they are.
    pub observed: ObservedNamespace,
    /// The partitions whose log has lost its beginning: only totals or an archive have it.
    pub trimmed: Vec<Partition>,
}

/// Why a namespace was not validated; variants by what follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// ZooKeeper could not be read.
    #[error(transparent)]
    Coordination(#[from] crate::Error),
    /// Kafka could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Cassandra could not be read, or the table is not the namespace's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They differ, or there is no namespace: an operator must act.
    #[error(transparent)]
    Mismatch(UserError),
}

impl From<Error> for UserError {
    fn from(error: Error) -> Self {
        match error {
            Error::Coordination(error) => error.into(),
            Error::Log(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Mismatch(error) => error,
        }
    }
}

impl From<Error> for ServerFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::Coordination(error) => error.into(),
            Error::Log(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Mismatch(error) => Self::Refused(error),
        }
    }
}

/// Compares the configuration, the log and the table with the namespace. Changes nothing.
///
/// # Errors
/// [`Error`]; a mismatch names every difference.
pub async fn validate<S: Session, C: Clock, Q: Cql, L: EventLog>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    log: &L,
    config: &Config,
) -> Result<ValidatedNamespace, Error> {
    let Some(definition) = definition_node::read(session).await? else {
        let message = format!("the namespace \"{}\" is not initialised", config.namespace);
        let help = "run `stitch-processor init`";
        return Err(Error::Mismatch(UserError::new(message, help)));
    };
    let recorded = &definition.record;
    let differs = definitions_differ(config, &recorded.definitions);
    if let Some(mismatch) = differs.or_else(|| consistency_differs(config, recorded)) {
        return Err(Error::Mismatch(mismatch.user_error(config)));
    }
    // Before the log is read: a process that keeps a record meanwhile has seen one that this read may have missed.
    let first_records = log_node::read_all(session).await?;
    let observed = ObservedNamespace {
        log: log.identity().await?,
        bounds: log.bounds(&log.partitions().await?).await?,
        table: cql.table().await?,
    };
    if let Some(mismatch) = identity_differs(&observed, recorded, &first_records) {
        return Err(Error::Mismatch(mismatch.user_error(config)));
    }
    let trimmed = identity::trimmed(&observed, recorded, &first_records);
    Ok(ValidatedNamespace {
        definition,
        observed,
        trimmed,
    })
}

/// Keeps the first record of each partition of which none is kept, so that a topic that is created again can be
/// distinguished from this one. For a process that counts: once it has joined, and again now and then, since a topic may
/// be empty at first.
///
/// # Errors
/// [`crate::Error::NotInitialised`]; [`crate::Error::Corrupt`].
pub async fn remember_log<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    log: &LogIdentity,
) -> Result<(), crate::Error> {
    let kept = log_node::read_all(session).await?;
    for (partition, first_record) in &log.fingerprints {
        if !kept.contains_key(partition) {
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
    /// What to do about it.
    pub help: String,
}

impl Mismatch {
    /// The error for a program with this configuration.
    #[must_use]
    pub fn user_error(&self, config: &Config) -> UserError {
        let (namespace, lines) = (&config.namespace, self.lines.join("; "));
        let message =
            format!("this configuration differs from the namespace \"{namespace}\": {lines}");
        UserError::new(message, &self.help)
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

/// How the configured consistency of increments differs from the recorded one; `None` if they agree. A restoration that
/// reads at less than `ALL` relies on it.
#[must_use]
pub fn consistency_differs(config: &Config, recorded: &NamespaceRecord) -> Option<Mismatch> {
    let (here, recorded) = (
        config.cassandra.write_consistency,
        recorded.write_consistency,
    );
    let raising = if here.is_above(recorded) {
        "to raise it: run `stitch-processor init --update`, and restart every program; or "
    } else {
        ""
    };
    let help = format!(
        "{raising}set cassandra.write_consistency = \"{}\"; a lower level needs a namespace, a keyspace and a group of its own",
        recorded.name()
    );
    (here != recorded).then(|| Mismatch {
        lines: vec![format!(
            "write_consistency: here {}, in the namespace {}",
            here.name(),
            recorded.name()
        )],
        help,
    })
}

/// How log and table differ from the recorded ones; `None` if they agree.
#[must_use]
pub fn identity_differs(
    observed: &ObservedNamespace,
    recorded: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
) -> Option<Mismatch> {
    let lines = identity::differences(observed, recorded, first_records);
    let help = "point kafka and cassandra at the log and the table of this namespace; another log or another table \
                needs a namespace, a keyspace and a group of its own"
        .to_owned();
    (!lines.is_empty()).then_some(Mismatch { lines, help })
}

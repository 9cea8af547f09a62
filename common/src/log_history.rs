//! Whether a log still has what it had. One that has lost its end, because a leader was elected that had fallen behind, gives
//! the same offsets to other records.

use std::collections::BTreeMap;

use crate::offset::{Offset, Offsets, Partition};
use crate::ports::{Bounds, EventLog, Fingerprint, LogError, LogIdentity};
use crate::user_error::UserError;

/// The first of these partitions of which the log has another record at this offset, or none, though it reaches back further.
/// A record that Kafka has deleted with the beginning of the log is not missed. Nothing follows from a log that ends below
/// the offset: a broker that was deposed as leader, and does not know it yet, answers with an old end.
///
/// # Errors
/// Kafka.
pub async fn replaced<L: EventLog>(
    log: &L,
    known: &BTreeMap<Partition, Fingerprint>,
) -> Result<Option<(Partition, Offset)>, LogError> {
    if known.is_empty() {
        return Ok(None);
    }
    let offsets = known
        .iter()
        .map(|(partition, known)| (*partition, known.offset));
    let offsets = Offsets(offsets.collect());
    let found = log.records_from(&offsets).await?;
    let mut behind = Vec::new();
    for (partition, known) in known {
        match found.get(partition) {
            Some(found) if found.offset > known.offset => behind.push(*partition),
            Some(found) if found != known => return Ok(Some((*partition, known.offset))),
            Some(_) | None => {}
        }
    }
    if behind.is_empty() {
        return Ok(None);
    }
    // Asked last: the log's beginning only moves on.
    let bounds = log.bounds(&behind).await?;
    let is_missing = |partition: &Partition| {
        let begin = bounds.get(partition).map(|bounds| bounds.begin);
        begin.is_some_and(|begin| begin <= offsets.of(*partition))
    };
    let missing = behind.into_iter().find(is_missing);
    Ok(missing.map(|partition| (partition, offsets.of(partition))))
}

/// How the log of a partition compares with the first record that was known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogMatch {
    /// It begins with the same record.
    Same,
    /// Records at its beginning are gone: it may be the same, and cannot be counted again.
    Trimmed,
    /// It is another one.
    Other(String),
}

impl LogMatch {
    /// Compares the first record that the log has now with `known`. `bounds` were asked for later, so that a beginning that is
    /// trimmed meanwhile shows.
    #[must_use]
    pub fn of(known: &Fingerprint, first: Option<&Fingerprint>, bounds: Option<&Bounds>) -> Self {
        if first == Some(known) {
            return Self::Same;
        }
        let Some(bounds) = bounds else {
            return Self::Other("there is no such partition any more".to_owned());
        };
        match first {
            _ if bounds.begin > known.offset => Self::Trimmed,
            Some(first) => Self::Other(format!(
                "its first record is another one, at offset {} instead of {}",
                first.offset, known.offset
            )),
            None => Self::Other(format!(
                "the record at offset {} is not there",
                known.offset
            )),
        }
    }
}

/// Refuses a log that does not keep every event: whoever reads one takes a gap of offsets for no records. How far it reaches
/// back is another question.
///
/// # Errors
/// The topic is compacted, or Kafka does not show whether it is.
pub fn keeps_events(identity: &LogIdentity) -> Result<(), UserError> {
    if identity.cleanup_policy.is_empty() {
        let message = format!(
            "Kafka does not show the settings of the topic \"{}\", so it may be compacted",
            identity.topic
        );
        let help =
            "give this user DESCRIBE_CONFIGS on the topic: the program's `check` has the command";
        return Err(UserError::new(message, help));
    }
    if !identity.cleanup_policy.contains("compact") {
        return Ok(());
    }
    let message = format!(
        "the topic \"{}\" is compacted (cleanup.policy={}): records are missing from it, so what it adds up to is not what \
         was counted",
        identity.topic, identity.cleanup_policy
    );
    let help = "set cleanup.policy=delete and retention.ms=-1; counts of events that were compacted away cannot be restored \
                from the log";
    Err(UserError::new(message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compacted_log_is_refused() {
        let checked = |policy: &str| {
            let identity = LogIdentity {
                cluster: "k".to_owned(),
                topic: "events".to_owned(),
                cleanup_policy: policy.to_owned(),
                fingerprints: BTreeMap::new(),
            };
            keeps_events(&identity).map_err(|error| error.message)
        };
        assert_eq!(checked("delete"), Ok(()));
        assert!(checked("compact,delete").unwrap_err().contains("compacted"));
        assert!(checked("").unwrap_err().contains("does not show"));
    }
}

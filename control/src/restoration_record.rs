//! The record of each restoration, which `status` and the next restoration read. Cells are recorded in files, not in
//! ZooKeeper.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::offset::Offsets;
use stitch_common::ports::Session;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_protocol::envelope::{self, Payload};
use stitch_protocol::restoration::{self, LockHolder};
use stitch_protocol::{Error, NamespaceSession};

use crate::audit_tally::AuditTally;
use crate::control_record::ControlEvent;
use crate::record_folder;
use crate::restoration_id::RestorationId;

/// The state of a restoration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestorationState {
    /// It runs, or died unrecorded: it runs only if its member holds the restoration lock.
    Running,
    /// It ended, with every range in scope verified.
    Verified,
    /// It ended, with every range in scope verified as far as its exceptions allow.
    VerifiedWithExceptions,
    /// It ended, and known drift remains.
    DriftRemains,
    /// It ended, and some range is unverified.
    Unverified,
    /// It runs, and waits for an operator or for a time: no range is locked.
    Paused,
    /// An operator ended it before every range was verified.
    Aborted,
}

impl RestorationState {
    /// Whether it runs, or died unrecorded.
    #[must_use]
    pub const fn is_of_a_run(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// The result of restoring a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RangeOutcome {
    /// Every cell in scope equals what the events below the cut add up to.
    Verified {
        /// How many cells were corrected.
        corrected: u64,
        /// How long the exclusive lock was held.
        locked_ms: u64,
    },
    /// The same, as far as the exceptions of the restoration allow: it removes no doubt.
    VerifiedWithExceptions {
        /// How many cells were corrected.
        corrected: u64,
        /// How long the exclusive lock was held.
        locked_ms: u64,
    },
    /// It was released before that was verified.
    Unverified {
        /// The reason, in a few words; cut short at [`RangeOutcome::WHY_MAX`].
        why: String,
    },
}

impl RangeOutcome {
    /// Characters of a reason that are kept.
    pub const WHY_MAX: usize = 100;
}

/// A restoration, and its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorationRecord {
    /// Its name.
    pub id: RestorationId,
    /// The process that ran it.
    pub holder: LockHolder,
    /// What it was to restore.
    pub scope: Scope,
    /// What the operator accepted less than: the level of reads, and what was declared dead. Empty in most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// Whether it runs, or how it ended.
    pub state: RestorationState,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// The lowest base cut of each partition.
    pub cuts: Offsets,
    /// The namespace's generation.
    pub generation: u64,
    /// The CRC-32 of the whole of `/definition`: log, table and definitions.
    pub identity: u32,
    /// What its audit has found, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<AuditTally>,
    /// What operators had it do, the latest [`ControlEvent::KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlEvent>,
    /// The ranges that it has finished.
    pub ranges: BTreeMap<RangeId, RangeOutcome>,
}

impl Payload for RestorationRecord {
    const FORMAT: u32 = 4;
    const HELP: &'static str = "it is a record for people only: delete that node by hand, or run the version of the program that wrote it";
}

impl RestorationRecord {
    /// The bytes of the record, cut to what a node may hold: of 4096 ranges each with its longest reason some are
    /// shortened.
    fn bytes(&self) -> Vec<u8> {
        let mut bounded = self.clone();
        for limit in [RangeOutcome::WHY_MAX, 20, 0] {
            for outcome in bounded.ranges.values_mut() {
                if let RangeOutcome::Unverified { why } = outcome {
                    *why = why.chars().take(limit).collect();
                }
            }
            let bytes = envelope::seal(&bounded);
            if bytes.len() <= Self::BYTES_MAX {
                return bytes;
            }
        }
        bounded.ranges.clear();
        envelope::seal(&bounded)
    }

    const BYTES_MAX: usize = 512 * 1024;
}

/// Writes a record, new or in place of the same restoration's earlier one, and deletes the oldest records above
/// [`KEPT`](crate::record_folder::KEPT). For the holder of the restoration lock alone. Cancelled, it may have been written.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn write_record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    record: &RestorationRecord,
) -> Result<(), Error> {
    let folder = session.paths().restorations();
    record_folder::write(session, &folder, record.id.as_str(), &record.bytes()).await
}

/// The records that are kept, the oldest first.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn records<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<RestorationRecord>, Error> {
    record_folder::read(session, &session.paths().restorations()).await
}

/// The restoration that runs now, if one does; `None` also while it begins and has no record yet.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn running<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Option<RestorationId>, Error> {
    let Some(holder) = restoration::holder(session).await? else {
        return Ok(None);
    };
    let records = records(session).await?;
    let of_holder = records
        .into_iter()
        .rev()
        .find(|record| record.holder.member == holder.member && record.ended.is_none());
    Ok(of_holder.map(|record| record.id))
}

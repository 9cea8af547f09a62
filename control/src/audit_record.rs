//! The record of each audit by `plan`, which takes no lock and changes no count.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::offset::Offsets;
use stitch_common::ports::Session;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_protocol::envelope::{self, Payload};
use stitch_protocol::restoration::LockHolder;
use stitch_protocol::{Error, NamespaceSession};

use crate::audit_tally::AuditTally;
use crate::record_folder;
use crate::restoration_id::RestorationId;

/// An audit that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The process that ran it, and when it began.
    pub auditor: LockHolder,
    /// What it was to audit.
    pub scope: Scope,
    /// What the operator accepted less than, as in the record of a restoration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// The lowest base cut of each partition.
    pub cuts: Offsets,
    /// The namespace's generation.
    pub generation: u64,
    /// What it has found in each range.
    pub ranges: BTreeMap<RangeId, AuditTally>,
}

impl Payload for AuditRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "it is a record for people only: delete that node by hand, or run the version of the program that wrote it";
}

impl AuditRecord {
    /// What it has found in all ranges.
    #[must_use]
    pub fn found(&self) -> AuditTally {
        let mut all = AuditTally::default();
        self.ranges.values().for_each(|found| all.add(*found));
        all
    }
}

/// Writes the record of an audit that has just ended. Cancelled, it may have been written.
///
/// # Errors
/// ZooKeeper refused, or did not answer.
pub async fn write_record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    record: &AuditRecord,
) -> Result<(), Error> {
    let folder = session.paths().audits();
    session.ensure(&folder).await?;
    let id = RestorationId::new(record.auditor.started, &record.auditor.member);
    record_folder::write(session, &folder, id.as_str(), &envelope::seal(record)).await
}

/// The records that are kept, the oldest first.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn records<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Vec<AuditRecord>, Error> {
    record_folder::read(session, &session.paths().audits()).await
}

//! The plan file: what an operator reviews. It names the cluster, log, table, generation and definitions that it was
//! made for, so that it is never carried out elsewhere; see docs/decisions/0003.
//!
//! The first line says what it is and carries a checksum of the rest; the second is the plan, each further line a cell
//! that was wrong.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stitch_common::answer::Failure;
use stitch_common::cell::{Bucket, Cell, CellSlot, Counter, CounterName, Granularity, Key};
use stitch_common::coordination::definition_node::NamespaceRecord;
use stitch_common::offset::Offsets;
use stitch_common::ports::LogIdentity;

use crate::options::Scope;
use crate::plan::judge::Drift;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The namespace.
    pub namespace: String,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// Generation, definitions and table, as they were.
    pub record: NamespaceRecord,
    /// The log, as it was.
    pub log: LogIdentity,
    /// Which cells.
    pub scope: Scope,
    /// The lowest base cut of each partition.
    pub cut: Offsets,
    /// How many cells were judged.
    pub judged: u64,
    /// How many were not.
    pub unjudged: u64,
    /// The cells that were wrong.
    #[serde(skip)]
    pub wrong: Vec<(Cell, Drift)>,
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    stitch_plan: u32,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    counter: CounterName,
    key: Key,
    granularity: Granularity,
    bucket: Bucket,
    #[serde(flatten)]
    drift: Drift,
}

/// Why bytes are no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not what [`Plan::encode`] makes.
    #[error("it is not a plan ({0})")]
    Malformed(String),
    /// Made by a later version of this program.
    #[error("it has format {0}, which this version does not know")]
    Format(u32),
    /// Changed or damaged since it was made.
    #[error("it was changed or damaged since it was made: its checksum does not match")]
    Checksum,
}

impl Plan {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = serde_json::to_vec(self).expect("plain data serialises");
        body.push(b'\n');
        for (cell, drift) in &self.wrong {
            let line = Line {
                counter: cell.counter.name.clone(),
                key: cell.counter.key.clone(),
                granularity: cell.slot.granularity,
                bucket: cell.slot.bucket,
                drift: *drift,
            };
            serde_json::to_writer(&mut body, &line).expect("plain data serialises");
            body.push(b'\n');
        }
        let header = Header {
            stitch_plan: FORMAT,
            checksum: format!("{:08x}", crc32fast::hash(&body)),
        };
        let mut bytes = serde_json::to_vec(&header).expect("plain data serialises");
        bytes.push(b'\n');
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads what [`Plan::encode`] made.
    ///
    /// # Errors
    /// Anything else is an error; nothing of it is carried out.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        let malformed = |why: &str| PlanError::Malformed(why.to_owned());
        let parse = |error: serde_json::Error| PlanError::Malformed(error.to_string());
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (header, body) = bytes.split_at(end.ok_or_else(|| malformed("it has no lines"))? + 1);
        let header: Header = serde_json::from_slice(header).map_err(parse)?;
        if header.stitch_plan != FORMAT {
            return Err(PlanError::Format(header.stitch_plan));
        }
        if header.checksum != format!("{:08x}", crc32fast::hash(body)) {
            return Err(PlanError::Checksum);
        }
        let mut lines = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let first = lines.next().ok_or_else(|| malformed("it is empty"))?;
        let mut plan: Self = serde_json::from_slice(first).map_err(parse)?;
        for line in lines {
            let line: Line = serde_json::from_slice(line).map_err(parse)?;
            let cell = Cell {
                counter: Counter {
                    name: line.counter,
                    key: line.key,
                },
                slot: CellSlot {
                    granularity: line.granularity,
                    bucket: line.bucket,
                },
            };
            plan.wrong.push((cell, line.drift));
        }
        Ok(plan)
    }

    /// Writes it to `path`: whole, or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = Path::new(&name);
        let write = || -> io::Result<()> {
            let mut file = File::create(part)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            fs::rename(part, path)
        };
        write().map_err(|error| {
            let what = format!("the plan cannot be written to {}: {error}", path.display());
            Failure::new(what, "name a file that can be written by --plan-file")
        })
    }

    /// Reads it from `path`.
    ///
    /// # Errors
    /// It cannot be read, or is no plan.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let way_out =
            "make a plan by `stitch-restorator plan --plan-file FILE`, or use `run --now`";
        let bytes = fs::read(path).map_err(|error| {
            let what = format!("the plan {} cannot be read: {error}", path.display());
            Failure::new(what, way_out)
        })?;
        Self::decode(&bytes).map_err(|error| {
            let what = format!("the plan {} cannot be used: {error}", path.display());
            Failure::new(what, way_out)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{definitions, everything, offsets, slot_at};
    use proptest::prelude::*;
    use stitch_common::cell::Count;
    use stitch_common::ports::TableIdentity;

    fn plan(counts: &[(i64, i64)]) -> Plan {
        let log = LogIdentity {
            cluster: "k".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints: std::collections::BTreeMap::new(),
        };
        let cell = |(i, (expected, current)): (usize, &(i64, i64))| {
            let cell = Cell {
                counter: Counter::new("plays", format!("k\n{i}")),
                slot: slot_at(Granularity::Hour, -1),
            };
            let drift = Drift {
                expected: Count(*expected),
                current: Count(*current),
            };
            (cell, drift)
        };
        Plan {
            namespace: "plays".to_owned(),
            made: DateTime::from_timestamp(1, 0).unwrap(),
            record: NamespaceRecord {
                generation: 3,
                definitions: definitions(),
                log: log.clone(),
                table: TableIdentity {
                    cluster: "c".to_owned(),
                    table: uuid::Uuid::from_u128(7),
                },
            },
            log,
            scope: everything(),
            cut: offsets(&[(0, 7), (3, 9)]),
            judged: 12,
            unjudged: 1,
            wrong: counts.iter().enumerate().map(cell).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_was_planned_is_read(counts in proptest::collection::vec(any::<(i64, i64)>(), 0..9)) {
            let plan = plan(&counts);
            prop_assert_eq!(Plan::decode(&plan.encode()), Ok(plan));
        }

        #[test]
        fn no_changed_byte_is_taken_for_a_plan(at in 0_usize..2000, flip in 1_u8..) {
            let mut bytes = plan(&[(1, 2), (3, 4)]).encode();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(Plan::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Plan::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let bytes = b"{\"stitch_plan\":2,\"checksum\":\"\"}\nnews\n";
        assert_eq!(Plan::decode(bytes), Err(PlanError::Format(2)));
    }

    #[test]
    fn a_plan_is_saved_whole_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        let missing = Plan::load(&path).unwrap_err();
        assert!(missing.what.contains("plan.json") && missing.way_out.contains("--plan-file"));
        plan(&[(1, 2)]).save(&path).unwrap();
        assert_eq!(Plan::load(&path), Ok(plan(&[(1, 2)])));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! The plan file, for an operator to review (docs/decisions/0003). It names the cluster, log, table, generation and
//! definitions that it was made for, so that it is never used elsewhere.
//!
//! JSON lines: the first has the format and a checksum of the rest, the second the plan, each further line a cell that was
//! wrong.

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stitch_common::cell::{Bucket, Cell, CellSlot, Counter, CounterName, Granularity, Key};
use stitch_common::offset::Offsets;
use stitch_common::ports::LogIdentity;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_protocol::definition_node::NamespaceRecord;

use crate::plan::judge::Drift;

/// A plan: a scope, what it was made for, and the cells that were wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub namespace: String,
    pub made: DateTime<Utc>,
    pub record: NamespaceRecord,
    pub log: LogIdentity,
    pub scope: Scope,
    /// The lowest base cut of each partition.
    pub cut: Offsets,
    pub judged: u64,
    pub unjudged: u64,
    #[serde(skip)]
    pub wrong: Vec<(Cell, Drift)>,
}

const FORMAT: u32 = 2;

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

/// Why a file is not a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("it is not a plan ({0})")]
    Malformed(String),
    /// The plan was made by a later version of this program.
    #[error("it has format {0}, which this version does not know")]
    Format(u32),
    #[error("it was changed or damaged since it was made: its checksum does not match")]
    Checksum,
}

impl Plan {
    /// Decodes the contents of a plan file. Refuses everything that is not exactly a plan.
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
        let (scope, ranges) = (&plan.scope, plan.record.definitions.range_bits.count());
        if scope
            .ranges
            .bounds()
            .is_none_or(|(_, last)| last.0 >= ranges)
        {
            return Err(malformed(
                "its scope has ranges that the namespace does not have",
            ));
        }
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

    /// Reads the plan at `path`, unless it takes more memory than `bytes_max`.
    pub fn load(path: &Path, bytes_max: usize) -> Result<Self, UserError> {
        let help = "make a plan with `stitch-restorator plan --plan-file FILE`, or use `run --now`";
        let unreadable = |error: io::Error| {
            let message = format!("the plan {} cannot be read: {error}", path.display());
            UserError::new(message, help)
        };
        let size = fs::metadata(path).map_err(unreadable)?.len();
        if size.saturating_mul(MEMORY_PER_BYTE) > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
            let message = format!(
                "the plan {} of {size} bytes takes more memory than the {bytes_max} bytes that memory_mib_max allows",
                path.display()
            );
            let help = "use `run --now` with its scope, or raise [restorator] memory_mib_max";
            return Err(UserError::new(message, help));
        }
        let bytes = fs::read(path).map_err(unreadable)?;
        Self::decode(&bytes).map_err(|error| {
            let message = format!("the plan {} cannot be used: {error}", path.display());
            UserError::new(message, help)
        })
    }
}

/// The memory of a plan while it is read, in sizes of its file: the text, its cells, and at most both once more.
const MEMORY_PER_BYTE: u64 = 4;

/// The lines before the cells. `cells` is the checksum of the lines of the cells.
pub(super) fn encode_head(plan: &Plan, cells: &crc32fast::Hasher) -> Vec<u8> {
    let mut first = serde_json::to_vec(plan).expect("plain data serialises");
    first.push(b'\n');
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&first);
    checksum.combine(cells);
    let header = Header {
        stitch_plan: FORMAT,
        checksum: format!("{:08x}", checksum.finalize()),
    };
    let mut bytes = serde_json::to_vec(&header).expect("plain data serialises");
    bytes.push(b'\n');
    bytes.extend_from_slice(&first);
    bytes
}

/// The line of a wrong cell.
pub(super) fn encode_line(cell: &Cell, drift: Drift) -> Vec<u8> {
    let line = Line {
        counter: cell.counter.name.clone(),
        key: cell.counter.key.clone(),
        granularity: cell.slot.granularity,
        bucket: cell.slot.bucket,
        drift,
    };
    let mut bytes = serde_json::to_vec(&line).expect("plain data serialises");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draft::Draft;
    use proptest::prelude::*;
    use stitch_common::cell::Count;
    use stitch_common::ports::TableIdentity;
    use stitch_common::range::RangeId;
    use stitch_common::scope::RangeSet;
    use stitch_testkit::samples::{definitions, everything, offsets, slot_at};

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
                write_consistency: stitch_config::WriteConsistency::LocalQuorum,
                raised_from: None,
            },
            log,
            scope: everything(),
            cut: offsets(&[(0, 7), (3, 9)]),
            judged: 12,
            unjudged: 1,
            wrong: counts.iter().enumerate().map(cell).collect(),
        }
    }

    fn encode(plan: &Plan) -> Vec<u8> {
        let lines = plan.wrong.iter();
        let lines: Vec<u8> = lines
            .flat_map(|(cell, drift)| encode_line(cell, *drift))
            .collect();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&lines);
        let mut bytes = encode_head(plan, &checksum);
        bytes.extend_from_slice(&lines);
        bytes
    }

    fn save(plan: &Plan, path: &Path) {
        let mut draft = Draft::begin(path).unwrap();
        for (cell, drift) in &plan.wrong {
            draft.add(cell, *drift).unwrap();
        }
        draft.finish(plan).unwrap();
    }

    proptest! {
        #[test]
        fn an_encoded_plan_is_decoded(counts in proptest::collection::vec(any::<(i64, i64)>(), 0..9)) {
            let plan = plan(&counts);
            prop_assert_eq!(Plan::decode(&encode(&plan)), Ok(plan));
        }

        #[test]
        fn a_plan_with_a_changed_byte_is_refused(at in 0_usize..2000, flip in 1_u8..) {
            let mut bytes = encode(&plan(&[(1, 2), (3, 4)]));
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(Plan::decode(&bytes).is_err());
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Plan::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_scope_beyond_the_ranges_is_refused() {
        for (first, last) in [(0, 2), (1, 0), (u16::MAX, u16::MAX)] {
            let mut plan = plan(&[]);
            plan.scope.ranges = RangeSet::interval(RangeId(first), RangeId(last));
            let refused = Plan::decode(&encode(&plan)).unwrap_err();
            assert!(refused.to_string().contains("scope"), "{refused}");
        }
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let bytes = b"{\"stitch_plan\":3,\"checksum\":\"\"}\nnews\n";
        assert_eq!(Plan::decode(bytes), Err(PlanError::Format(3)));
    }

    #[test]
    fn a_draft_is_its_owners_alone_and_follows_no_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.jsonl");
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        for suffix in [".cells", ".part"] {
            symlink(
                &elsewhere,
                folder.path().join(format!("plan.jsonl{suffix}")),
            )
            .unwrap();
        }
        save(&plan(&[(1, 2)]), &path);
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_plan_is_saved_as_a_whole_and_a_missing_or_large_one_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.jsonl");
        let missing = Plan::load(&path, usize::MAX).unwrap_err();
        assert!(missing.message.contains("plan.jsonl") && missing.help.contains("--plan-file"));
        let some: Vec<_> = (0..100).map(|n| (n, -1)).collect();
        save(&plan(&some), &path);
        assert_eq!(Plan::load(&path, usize::MAX), Ok(plan(&some)));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary files remain"
        );
        drop(Draft::begin(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let folder_name = Draft::begin(folder.path()).unwrap_err();
        assert!(folder_name.help.contains("--plan-file"), "{folder_name}");
        let large = Plan::load(&path, 10_000).unwrap_err();
        assert!(large.message.contains("memory_mib_max") && large.help.contains("--now"));
    }
}

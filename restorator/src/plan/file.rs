//! The plan file, for an operator to review (docs/decisions/0003). It names the cluster, log, table, generation and
//! definitions that it was made for, so that it is never used elsewhere.
//!
//! JSON lines: the first has the format and a checksum of the rest, the second the plan, each further line a cell that was
//! wrong. Whoever reads it has one line in memory, so a plan may have any size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stitch_common::cell::{Bucket, Cell, CellSlot, Counter, CounterName, Granularity, Key};
use stitch_common::offset::Offsets;
use stitch_common::ports::LogIdentity;
use stitch_common::printable::json;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_protocol::definition_node::NamespaceRecord;

use crate::plan::judge::Drift;

/// A plan: a scope, and what it was made for. The cells that were wrong are in its file only.
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
}

/// A plan file, read to its end and found whole.
#[derive(Debug)]
pub struct PlanFile<R> {
    source: R,
    plan: Plan,
    checksum: String,
    cells: u64,
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
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// Longer than any line of a plan: a key has at most 64 KiB.
const LINE_BYTES_MAX: u64 = 16 << 20;

const HELP: &str = "make a plan with `stitch-restorator plan --plan-file FILE`, or use `run --now`";

impl PlanFile<File> {
    /// Opens the plan at `path`, and reads it to its end.
    ///
    /// # Errors
    /// It cannot be read, or is not exactly a plan.
    pub fn open(path: &Path) -> Result<Self, UserError> {
        let opened = File::open(path).map_err(|error| PlanError::Unreadable(error.to_string()));
        let read = opened.and_then(Self::read);
        read.map_err(|error| error.of(path))
    }
}

impl<R: Read + Seek> PlanFile<R> {
    /// Reads a plan file to its end. Refuses everything that is not exactly a plan.
    ///
    /// # Errors
    /// It cannot be read, or is not exactly a plan.
    pub fn read(mut source: R) -> Result<Self, PlanError> {
        let mut cells = 0;
        let (plan, checksum) = scan(&mut source, |_, _| cells += 1)?;
        Ok(Self {
            source,
            plan,
            checksum,
            cells,
        })
    }

    /// The plan without its cells.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many cells are wrong in it.
    pub const fn cells(&self) -> u64 {
        self.cells
    }

    /// Reads it once more, and passes each cell that is wrong in it.
    ///
    /// # Errors
    /// It cannot be read, or was changed since; then some cells may have been passed.
    pub fn each(&mut self, each: impl FnMut(Cell, Drift)) -> Result<(), PlanError> {
        self.source.rewind()?;
        let (_, checksum) = scan(&mut self.source, each)?;
        if checksum == self.checksum {
            Ok(())
        } else {
            Err(PlanError::Checksum)
        }
    }
}

impl PlanError {
    /// The error of the plan at `path`, for the operator.
    pub(crate) fn of(&self, path: &Path) -> UserError {
        let message = format!("the plan {} cannot be used: {self}", path.display());
        UserError::new(message, HELP)
    }

    fn malformed(why: &str) -> Self {
        Self::Malformed(why.to_owned())
    }
}

impl From<io::Error> for PlanError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<serde_json::Error> for PlanError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Reads a plan file with its checksum, and passes each of its cells. They are those of a plan only if this returns one.
fn scan(
    source: &mut impl Read,
    mut each: impl FnMut(Cell, Drift),
) -> Result<(Plan, String), PlanError> {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    if !next_line(&mut source, &mut line)? || line.last() != Some(&b'\n') {
        return Err(PlanError::malformed("it has no lines"));
    }
    let header: Header = serde_json::from_slice(&line)?;
    if header.stitch_plan != FORMAT {
        return Err(PlanError::Format(header.stitch_plan));
    }
    let mut checksum = crc32fast::Hasher::new();
    let mut plan = None;
    // A line that is no line of a plan is reported only if it is what was written.
    let mut result = Ok(());
    while next_line(&mut source, &mut line)? {
        checksum.update(&line);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if result.is_err() || text.is_empty() {
            continue;
        }
        if plan.is_none() {
            result = decode_plan(text).map(|decoded| plan = Some(decoded));
        } else {
            result = decode_line(text).map(|(cell, drift)| each(cell, drift));
        }
    }
    if header.checksum != format!("{:08x}", checksum.finalize()) {
        return Err(PlanError::Checksum);
    }
    result?;
    let plan = plan.ok_or_else(|| PlanError::malformed("it is empty"))?;
    Ok((plan, header.checksum))
}

/// Reads a line with its end into `line`; false behind the last one.
fn next_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, PlanError> {
    line.clear();
    let read = source.take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if u64::try_from(read).is_ok_and(|read| read >= LINE_BYTES_MAX) {
        return Err(PlanError::malformed("a line is too long"));
    }
    Ok(read > 0)
}

fn decode_plan(line: &[u8]) -> Result<Plan, PlanError> {
    let plan: Plan = serde_json::from_slice(line)?;
    let ranges = plan.record.definitions.range_bits.count();
    let bounds = plan.scope.ranges.bounds();
    if bounds.is_none_or(|(_, last)| last.0 >= ranges) {
        return Err(PlanError::malformed(
            "its scope has ranges that the namespace does not have",
        ));
    }
    Ok(plan)
}

fn decode_line(line: &[u8]) -> Result<(Cell, Drift), PlanError> {
    let line: Line = serde_json::from_slice(line)?;
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
    Ok((cell, line.drift))
}

/// The lines before the cells. `cells` is the checksum of the lines of the cells.
pub(super) fn encode_head(plan: &Plan, cells: &crc32fast::Hasher) -> Vec<u8> {
    let mut first = json(plan).expect("plain data serialises");
    first.push(b'\n');
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&first);
    checksum.combine(cells);
    let header = Header {
        stitch_plan: FORMAT,
        checksum: format!("{:08x}", checksum.finalize()),
    };
    let mut bytes = json(&header).expect("plain data serialises");
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
    let mut bytes = json(&line).expect("plain data serialises");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draft::Draft;
    use proptest::prelude::*;
    use std::fs;
    use std::io::Cursor;
    use stitch_common::cell::Count;
    use stitch_common::ports::TableIdentity;
    use stitch_common::range::RangeId;
    use stitch_common::scope::RangeSet;
    use stitch_testkit::samples::{definitions, everything, offsets, slot_at};

    fn plan() -> Plan {
        let log = LogIdentity {
            cluster: "k".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints: std::collections::BTreeMap::new(),
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
        }
    }

    fn wrong(counts: &[(i64, i64)]) -> Vec<(Cell, Drift)> {
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
        counts.iter().enumerate().map(cell).collect()
    }

    fn encode(plan: &Plan, wrong: &[(Cell, Drift)]) -> Vec<u8> {
        let lines: Vec<u8> = wrong
            .iter()
            .flat_map(|(cell, drift)| encode_line(cell, *drift))
            .collect();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&lines);
        let mut bytes = encode_head(plan, &checksum);
        bytes.extend_from_slice(&lines);
        bytes
    }

    fn save(wrong: &[(Cell, Drift)], path: &Path) {
        let mut draft = Draft::begin(path).unwrap();
        for (cell, drift) in wrong {
            draft.add(cell, *drift).unwrap();
        }
        draft.finish(&plan()).unwrap();
    }

    fn read(bytes: &[u8]) -> Result<Plan, PlanError> {
        let read = PlanFile::read(Cursor::new(bytes));
        read.map(|file| file.plan)
    }

    fn cells_of<R: Read + Seek>(file: &mut PlanFile<R>) -> Result<Vec<(Cell, Drift)>, PlanError> {
        let mut cells = Vec::new();
        file.each(|cell, drift| cells.push((cell, drift)))?;
        Ok(cells)
    }

    proptest! {
        #[test]
        fn an_encoded_plan_is_decoded(counts in proptest::collection::vec(any::<(i64, i64)>(), 0..9)) {
            let wrong = wrong(&counts);
            let mut file = PlanFile::read(Cursor::new(encode(&plan(), &wrong))).unwrap();
            prop_assert_eq!(file.plan(), &plan());
            prop_assert_eq!(file.cells(), u64::try_from(wrong.len()).unwrap());
            prop_assert_eq!(cells_of(&mut file), Ok(wrong));
        }

        #[test]
        fn a_plan_with_a_changed_byte_is_refused(at in 0_usize..2000, flip in 1_u8..) {
            let mut bytes = encode(&plan(), &wrong(&[(1, 2), (3, 4)]));
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }

    #[test]
    fn a_scope_beyond_the_ranges_is_refused() {
        for (first, last) in [(0, 2), (1, 0), (u16::MAX, u16::MAX)] {
            let mut plan = plan();
            plan.scope.ranges = RangeSet::interval(RangeId(first), RangeId(last));
            let refused = read(&encode(&plan, &[])).unwrap_err();
            assert!(refused.to_string().contains("scope"), "{refused}");
        }
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let bytes = b"{\"stitch_plan\":3,\"checksum\":\"\"}\nnews\n";
        assert_eq!(read(bytes), Err(PlanError::Format(3)));
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
        save(&wrong(&[(1, 2)]), &path);
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_plan_is_saved_as_a_whole_and_a_missing_one_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.jsonl");
        let missing = PlanFile::open(&path).unwrap_err();
        assert!(missing.message.contains("plan.jsonl") && missing.help.contains("--plan-file"));
        let some: Vec<_> = (0..100).map(|n| (n, -1)).collect();
        save(&wrong(&some), &path);
        let mut file = PlanFile::open(&path).unwrap();
        assert_eq!(cells_of(&mut file), Ok(wrong(&some)));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary files remain"
        );
        drop(Draft::begin(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let folder_name = Draft::begin(folder.path()).unwrap_err();
        assert!(folder_name.help.contains("--plan-file"), "{folder_name}");
    }

    #[test]
    fn a_plan_that_changes_while_it_is_used_is_refused() {
        let bytes = encode(&plan(), &wrong(&[(1, 2), (3, 4)]));
        let mut file = PlanFile::read(Cursor::new(bytes)).unwrap();
        assert_eq!(cells_of(&mut file).map(|cells| cells.len()), Ok(2));
        file.source = Cursor::new(encode(&plan(), &wrong(&[(1, 2)])));
        assert_eq!(cells_of(&mut file), Err(PlanError::Checksum));
    }

    #[test]
    fn a_line_without_an_end_is_not_read_into_memory() {
        let endless = io::repeat(b'x').take(u64::MAX);
        let read = scan(&mut endless.chain(io::empty()), |_, _| {});
        assert_eq!(
            read.unwrap_err(),
            PlanError::malformed("a line is too long")
        );
    }
}

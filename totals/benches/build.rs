//! Measures a build of totals: records of a topic in memory, decoded, added up within a bound, merged, and written to a
//! folder; then a second one with one record in a hundred more.
//!
//!     cargo bench -p stitch-totals --bench build -- RECORDS KEYS MEMORY_MIB [folder=PATH]
//!
//! Totals are kept if a folder is named.
//! An event adds to three cells: of an hour, of a day, and of all time. With one hour of events there are three cells a
//! key. It prints one JSON object.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stitch_common::cell::{CounterName, Granularity};
use stitch_common::clock::SystemClock;
use stitch_common::definition::{AmountSource, CounterDefinition, Definitions, EventAttributes};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, EventLog, Feed, FeedEvent, Fingerprint, LogError, LogIdentity, Record,
    TableIdentity,
};
use stitch_common::progress::NoProgress;
use stitch_common::range::RangeBits;
use stitch_objects::ObjectFolder;
use stitch_testkit::kafka::Never;
use stitch_totals::build::{BaseChoice, BuildRequest, build};
use stitch_totals::manifest::NamespaceInstance;
use stitch_totals::records::{Records, RecordsError};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::totals_folder::TotalsFolder;

const BATCH: i64 = 1000;

/// A topic of one partition, whose records are made as they are read.
struct MadeUp {
    keys: u64,
    end: Cell<i64>,
}

struct MadeUpFeed {
    keys: u64,
    end: i64,
    next: i64,
}

/// The value of the record at this offset: keys come in no order, all equally often.
fn value(offset: i64, keys: u64) -> String {
    let number = offset.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (number >> 20) % keys;
    format!(
        r#"{{"type":"play","time":"2026-05-01T10:00:00Z","user":"user-{}","track":"track-{key:010}","client":"web"}}"#,
        offset % 977
    )
}

impl EventLog for MadeUp {
    type Feed = MadeUpFeed;
    type Group = Never;
    type DeadLetters = Never;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        Ok(vec![Partition(0)])
    }

    async fn bounds(&self, _: &[Partition]) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        let bounds = Bounds {
            begin: Offset(0),
            end: Offset(self.end.get()),
        };
        Ok(BTreeMap::from([(Partition(0), bounds)]))
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        Err(LogError::Refused("not asked".to_owned()))
    }

    async fn committed(&self, _: &[Partition]) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Ok(BTreeMap::new())
    }

    async fn feed(&self) -> Result<MadeUpFeed, LogError> {
        Ok(MadeUpFeed {
            keys: self.keys,
            end: self.end.get(),
            next: 0,
        })
    }

    async fn records_from(
        &self,
        _: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        Ok(BTreeMap::new())
    }

    async fn join(&self) -> Result<Never, LogError> {
        Err(LogError::Refused("not asked".to_owned()))
    }

    async fn dead_letters(&self) -> Result<Never, LogError> {
        Err(LogError::Refused("not asked".to_owned()))
    }
}

impl Feed for MadeUpFeed {
    fn start(&mut self, _: Partition, from: Offset, _: AssignmentEpoch) -> Result<(), LogError> {
        self.next = from.0;
        Ok(())
    }

    fn stop(&mut self, _: Partition) -> Result<(), LogError> {
        Ok(())
    }

    async fn next(&mut self) -> FeedEvent {
        let to = (self.next + BATCH).min(self.end);
        let record = |offset| Record {
            offset: Offset(offset),
            timestamp_ms: None,
            key: None,
            value: Some(value(offset, self.keys).into_bytes().into()),
        };
        let records = (self.next..to).map(record).collect();
        self.next = to;
        FeedEvent::Records {
            partition: Partition(0),
            epoch: AssignmentEpoch(1),
            records,
        }
    }
}

fn definitions() -> Definitions {
    let plays = CounterDefinition {
        name: CounterName("plays".into()),
        on: vec!["play".to_owned()],
        key: "track".to_owned(),
        granularities: vec![Granularity::Hour, Granularity::Day, Granularity::All],
        amount: AmountSource::Fixed(1),
    };
    let bits = RangeBits::new(6).expect("six bits are allowed");
    Definitions::new(bits, EventAttributes::default(), vec![plays])
}

/// The seconds of CPU that this process has used: others may need the machine, too.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = i32::try_from(time.tv_nsec).unwrap_or(0);
    let seconds = i32::try_from(time.tv_sec).unwrap_or(i32::MAX);
    f64::from(seconds) + f64::from(nanos) / 1e9
}

/// The most memory that this process had in use, in MiB.
fn resident_mib_most() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments
        .iter()
        .filter_map(|argument| argument.parse::<u32>().ok());
    let kept = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("folder="));
    let records = i64::from(numbers.next().unwrap_or(100_000));
    let keys = u64::from(numbers.next().unwrap_or(10_000));
    let memory_mib = numbers.next().unwrap_or(64);
    let path = kept.map_or_else(
        || std::env::temp_dir().join(format!("stitch-bench-{}", std::process::id())),
        PathBuf::from,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(measure(&path, records, keys, memory_mib));
    if kept.is_none() {
        std::fs::remove_dir_all(&path)?;
    }
    writeln!(std::io::stdout(), "{}", result?)?;
    Ok(())
}

async fn measure(
    path: &Path,
    records: i64,
    keys: u64,
    memory_mib: u32,
) -> Result<String, Box<dyn Error>> {
    let clock = SystemClock;
    let definitions = definitions();
    let folder = TotalsFolder::new(ObjectFolder::local(&path.join("store"))?, "plays");
    let spill = SpillFolder::open(&path.join("spill"), 1 << 36)?;
    let topic = MadeUp {
        keys,
        end: Cell::new(records),
    };
    let source = Records::<ObjectFolder, _, _>::new(None, &topic, &clock, Duration::from_secs(60));
    let table = TableIdentity {
        cluster: "cassandra".to_owned(),
        table: Default::default(),
    };
    let instance = NamespaceInstance {
        generation: 1,
        table,
        first_records: BTreeMap::new(),
    };
    let origins = async || Ok::<_, RecordsError>(Offsets::default());
    let reach = source.reach(origins).await?;
    let request = BuildRequest {
        namespace: "plays",
        instance: &instance,
        cluster: "kafka",
        topic: "events",
        definitions: &definitions,
        reach: &reach,
        base: BaseChoice::Newest,
        cut: None,
        added: &[],
        memory_bytes_max: usize::try_from(memory_mib)? << 20,
        spill: &spill,
    };
    // What it costs to make the records up is no part of the build.
    let start = cpu_seconds();
    let bytes: usize = (0..records).map(|offset| value(offset, keys).len()).sum();
    let made_up = cpu_seconds() - start;
    let start = cpu_seconds();
    let first = build(&folder, &source, &request, &clock, &NoProgress).await?;
    let first_took = cpu_seconds() - start - made_up;
    topic.end.set(records + records / 100);
    let start = cpu_seconds();
    let reach = source.reach(origins).await?;
    let request = BuildRequest {
        reach: &reach,
        base: BaseChoice::Newest,
        cut: None,
        ..request
    };
    let second = build(&folder, &source, &request, &clock, &NoProgress).await?;
    let second_took = cpu_seconds() - start;
    let files: u64 = second.manifest.files.iter().map(|file| file.bytes).sum();
    let report = serde_json::json!({
        "records": records,
        "record_bytes": bytes / usize::try_from(records.max(1))?,
        "cells": first.manifest.rows,
        "memory_mib_max": memory_mib,
        "first_build_cpu_seconds": first_took,
        "records_per_cpu_second": f64::from(u32::try_from(records)?) / first_took,
        "resident_mib_most": resident_mib_most(),
        "spilled_mib_most": spill.bytes_most() >> 20,
        "second_build_cpu_seconds": second_took,
        "second_build_records": second.records,
        "file_bytes": files,
    });
    Ok(report.to_string())
}

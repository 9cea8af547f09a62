//! (n): what a node of Cassandra spends its CPU on while counters are incremented: its threads by `/proc`, and its Java code by
//! where the stacks of a flight recording are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use stitch_harness::process_usage::{ThreadTimes, threads};
use tokio::process::Command;

use crate::baseline::Measured;
use crate::load::Keys;
use crate::{Bench, counting};

/// The recording's name, and how deep its stacks are printed.
const RECORDING: &str = "stitch";
const DEPTH: &str = "64";

/// The tools of a JDK that start a recording and print it.
pub(crate) struct JavaTools {
    jcmd: PathBuf,
    jfr: PathBuf,
}

impl JavaTools {
    /// Those in the folder of this Java.
    pub(crate) fn beside(java: &Path) -> Self {
        Self {
            jcmd: java.with_file_name("jcmd"),
            jfr: java.with_file_name("jfr"),
        }
    }
}

/// What Java code is doing, by the first of these of which a frame is in the stack: what is called comes before its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Activity {
    CommitLog,
    CounterCache,
    CounterLock,
    ReadBeforeWrite,
    Memtable,
    Sending,
    Replication,
    Statement,
    Protocol,
    Background,
    Other,
}

impl Activity {
    /// In the order in which stacks are searched for them.
    const RULES: [(Self, &'static [&'static str]); 10] = [
        (Self::CommitLog, &["cassandra.db.commitlog."]),
        (
            Self::CounterCache,
            &[
                "cassandra.db.ColumnFamilyStore.getCachedCounter",
                "cassandra.db.ColumnFamilyStore.putCachedCounter",
                "cassandra.db.CounterMutation.updateWithCurrentValuesFromCache",
                "cassandra.cache.",
            ],
        ),
        (
            Self::CounterLock,
            &["cassandra.db.CounterMutation.grabCounterLocks"],
        ),
        (
            Self::ReadBeforeWrite,
            &[
                "cassandra.db.CounterMutation.updateWithCurrentValues",
                "cassandra.db.SinglePartitionReadCommand",
            ],
        ),
        (
            Self::Memtable,
            &[
                "cassandra.db.memtable.",
                "cassandra.db.ColumnFamilyStore.apply",
                "cassandra.db.Keyspace.apply",
            ],
        ),
        (Self::Sending, &["cassandra.net."]),
        (
            Self::Replication,
            &["cassandra.service.", "cassandra.db.CounterMutation"],
        ),
        (Self::Statement, &["cassandra.cql3."]),
        (Self::Protocol, &["cassandra.transport.", "io.netty."]),
        (
            Self::Background,
            &[
                "cassandra.db.compaction.",
                "cassandra.io.sstable.",
                "cassandra.metrics.",
            ],
        ),
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CommitLog => "commit log",
            Self::CounterCache => "counter cache",
            Self::CounterLock => "locks of counters",
            Self::ReadBeforeWrite => "reading what counters hold",
            Self::Memtable => "memtable",
            Self::Sending => "messages to nodes",
            Self::Replication => "leading the write",
            Self::Statement => "statements",
            Self::Protocol => "protocol",
            Self::Background => "flushes, compaction and metrics",
            Self::Other => "other",
        }
    }

    fn of(stack: &[&str]) -> Self {
        let is_in = |names: &[&str]| {
            stack
                .iter()
                .any(|frame| names.iter().any(|name| frame.contains(name)))
        };
        Self::RULES
            .iter()
            .find(|(_, names)| is_in(names))
            .map_or(Self::Other, |(activity, _)| *activity)
    }
}

/// CPU seconds of a virtual machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct CpuTime {
    /// In the kernel, whichever thread it was.
    pub(crate) kernel: f64,
    pub(crate) compiling: f64,
    pub(crate) collecting: f64,
    pub(crate) java: f64,
}

impl CpuTime {
    pub(crate) fn total(&self) -> f64 {
        self.kernel + self.compiling + self.collecting + self.java
    }

    /// Adds what a thread took since it was as `before`.
    fn add(&mut self, thread: &ThreadTimes, before: &ThreadTimes) {
        let starts = |names: &[&str]| names.iter().any(|start| thread.name.starts_with(start));
        let kind = if starts(&["C1 ", "C2 "]) {
            &mut self.compiling
        } else if starts(&["GC ", "G1 ", "VM Thread"]) {
            &mut self.collecting
        } else {
            &mut self.java
        };
        *kind += thread.user_seconds - before.user_seconds;
        self.kernel += thread.system_seconds - before.system_seconds;
    }
}

/// A node while something counted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeProfile {
    pub(crate) counted: Measured,
    pub(crate) cpu: CpuTime,
    /// Samples of Java code that ran.
    pub(crate) samples: BTreeMap<Activity, u32>,
}

/// The results of (n).
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Profiles {
    pub(crate) stitch: NodeProfile,
    /// While the baseline sends a request for each increment.
    pub(crate) naive: NodeProfile,
}

/// Profiles the node under the processor's load, and under that of an increment a request; both with uniform keys.
pub(crate) async fn measure(bench: &mut Bench, tools: &JavaTools) -> Result<Profiles> {
    let keys = Keys::Uniform(bench.sizes.tracks);
    let backlog = bench.sizes.uniform_backlog;
    bench.say("warming the servers up")?;
    counting::naive(bench, keys).await?;
    counting::processor(bench, keys, backlog).await?;
    bench.say("profiling the node under the processor")?;
    let stitch = profile(bench, tools, async || {
        counting::processor(bench, keys, backlog).await
    });
    let stitch = stitch.await?;
    bench.say("profiling the node under an increment a request")?;
    // All that the node does is recorded, so all of it has to be counted, too.
    let warm_up = std::mem::take(&mut bench.sizes.warm_up);
    let naive = profile(bench, tools, async || counting::naive(bench, keys).await).await?;
    bench.sizes.warm_up = warm_up;
    Ok(Profiles { stitch, naive })
}

/// Records while something is counted. The recording begins before the backlog is sent to Kafka, which the node has no part in.
async fn profile(
    bench: &Bench,
    tools: &JavaTools,
    count: impl AsyncFnOnce() -> Result<Measured>,
) -> Result<NodeProfile> {
    let pid = bench.servers.pid("cassandra-1").await?;
    let file = bench.folder.join("node.jfr");
    let node = pid.to_string();
    let (name, to) = (
        format!("name={RECORDING}"),
        format!("filename={}", file.display()),
    );
    run(
        &tools.jcmd,
        &[&node, "JFR.start", &name, "settings=profile"],
    )
    .await?;
    let before = threads(pid)?;
    let counted = count().await?;
    let cpu = since(&before, &threads(pid)?);
    run(&tools.jcmd, &[&node, "JFR.stop", &name, &to]).await?;
    let recorded = file.display().to_string();
    let print = [
        "print",
        "--events",
        "jdk.ExecutionSample",
        "--stack-depth",
        DEPTH,
        &recorded,
    ];
    let samples = samples(&run(&tools.jfr, &print).await?);
    ensure!(
        !samples.is_empty(),
        "the recording has no sample of Java code"
    );
    fs::remove_file(&file)?;
    Ok(NodeProfile {
        counted,
        cpu,
        samples,
    })
}

async fn run(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().await;
    let output =
        output.with_context(|| format!("{}: part (n) needs a whole JDK", program.display()))?;
    ensure!(
        output.status.success(),
        "{} {arguments:?}: {}{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn since(before: &BTreeMap<String, ThreadTimes>, after: &BTreeMap<String, ThreadTimes>) -> CpuTime {
    let mut cpu = CpuTime::default();
    for (id, thread) in after {
        cpu.add(thread, &before.get(id).cloned().unwrap_or_default());
    }
    cpu
}

/// What the samples that `jfr print` shows were in.
fn samples(printed: &str) -> BTreeMap<Activity, u32> {
    let mut samples = BTreeMap::new();
    for sample in printed.split("jdk.ExecutionSample {").skip(1) {
        let Some((_, stack)) = sample.split_once("stackTrace = [") else {
            continue;
        };
        let stack = stack.split(']').next().unwrap_or_default();
        let frames: Vec<&str> = stack
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        *samples.entry(Activity::of(&frames)).or_default() += 1;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_what_is_called_and_not_of_its_callers() {
        let printed = "jdk.ExecutionSample {\n  sampledThread = \"a\"\n  stackTrace = [\n    \
            java.util.zip.CRC32.update(ByteBuffer) line: 1\n    \
            org.apache.cassandra.db.commitlog.CommitLog.add(Mutation) line: 2\n    \
            org.apache.cassandra.db.Keyspace.applyInternal(Mutation) line: 3\n    \
            org.apache.cassandra.db.CounterMutation.applyCounterMutation() line: 4\n  ]\n}\n\n\
            jdk.ExecutionSample {\n  stackTrace = [\n    java.lang.String.hashCode() line: 1\n  ]\n}\n";
        let found = samples(printed);
        assert_eq!(
            found,
            BTreeMap::from([(Activity::CommitLog, 1), (Activity::Other, 1)])
        );
        let locked = ["org.apache.cassandra.db.CounterMutation.grabCounterLocks(Keyspace) line: 1"];
        assert_eq!(Activity::of(&locked), Activity::CounterLock);
    }

    #[test]
    fn time_in_the_kernel_is_told_apart_whichever_thread_it_is() {
        let stat = |name: &str, user: u32, system: u32| {
            ThreadTimes::parse(&format!(
                "7 ({name}) S 1 2 3 4 5 6 7 8 9 10 {user} {system} 0"
            ))
            .unwrap()
        };
        let before = BTreeMap::from([("7".to_owned(), stat("C2 Compiler", 100, 0))]);
        let after = BTreeMap::from([
            ("7".to_owned(), stat("C2 Compiler", 300, 50)),
            ("8".to_owned(), stat("GC Thread#0", 100, 0)),
            ("9".to_owned(), stat("Mutation (1)", 400, 50)),
        ]);
        let cpu = CpuTime {
            kernel: 1.0,
            compiling: 2.0,
            collecting: 1.0,
            java: 4.0,
        };
        assert_eq!(since(&before, &after), cpu);
    }
}

//! A job for a cluster: which segments to map, and what became of each. What runs it is behind [`JobRunner`].
//!
//! The job's driver passes each [`MapTask`] to `stitch-totals map` on an executor, which puts the partial sums of one
//! segment into the store and answers with a [`Receipt`]; then it groups all partial sums by cell. The cluster is trusted
//! with nothing: receipts and cells must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stitch_archive::chain::Segment;
use stitch_common::cell::CounterName;
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore};
use stitch_common::user_error::UserError;
use stitch_totals::manifest::TotalsId;
use twox_hash::XxHash3_128;

/// The format of jobs, tasks, receipts and partial sums.
pub const FORMAT: u32 = 1;

/// What every task of a job needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub format: u32,
    /// Kafka's id of the cluster.
    pub cluster: String,
    pub topic: String,
    /// What is counted, by the number in [`MapTask::pass`].
    pub passes: Vec<Definitions>,
}

/// The records of one segment to add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapTask {
    /// By which definitions of the job.
    pub pass: usize,
    pub partition: Partition,
    /// The records from here on are wanted.
    pub from: Offset,
    /// The records below are wanted.
    pub to: Offset,
    pub segment: Segment,
    /// The object of the partial sums.
    pub partial: String,
}

/// What one task has put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The object of the partial sums: it names the task.
    pub partial: String,
    /// The number of records.
    pub records: u64,
    pub accounts: BTreeMap<CounterName, PartialAccount>,
}

/// The account of one counter in one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialAccount {
    /// How many events have contributed an amount that is not 0.
    pub contributions: u64,
    /// The number of cells.
    pub cells: u64,
    /// The sum of the amounts over all cells, modulo 2^64.
    pub sum: i64,
}

impl MapTask {
    /// The name of the partial sums: whatever determines them is in it, so that the same work has the same name.
    pub fn partial_id(&self, job: &Job) -> String {
        let of = (FORMAT, &job.cluster, &job.topic, self.partition);
        let records = (self.from, self.to, &self.segment);
        let text = serde_json::to_vec(&(of, records, &job.passes[self.pass]));
        let text = text.expect("plain data serialises");
        format!("{:032x}", XxHash3_128::oneshot(&text))
    }

    /// Whether all records of the segment are wanted.
    pub fn is_whole(&self) -> bool {
        self.from <= self.segment.from && self.segment.to <= self.to
    }
}

/// The objects of jobs, by name. The only place that spells them.
///
/// ```text
/// partials/v1/<namespace>/<hash>.parquet    partial sums of one segment
/// partials/v1/<namespace>/<id>-<ms>/        what the job of a build of the totals <id> has put
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobObjects(ObjectName);

impl JobObjects {
    /// Those of a namespace.
    pub fn new(namespace: &str) -> Self {
        Self(ObjectName(format!("partials/v1/{namespace}")))
    }

    /// The partial sums of a task.
    pub fn partial(&self, id: &str) -> ObjectName {
        self.0.join(format_args!("{id}.parquet"))
    }

    /// The folder of the job that was begun at this time, in milliseconds since 1970.
    pub fn job(&self, id: &TotalsId, begun_ms: i64) -> JobFolder {
        JobFolder(self.0.join(format_args!("{id}-{begun_ms}")))
    }

    /// Deletes all of them: nothing else knows the names of those that a build has left which was killed. Returns how many.
    ///
    /// # Errors
    /// The store; some are deleted then.
    pub async fn delete(&self, store: &impl ObjectStore) -> Result<u64, ObjectError> {
        let mut deleted = 0;
        for entry in store.list(&self.0, None).await? {
            store.delete(&entry.name).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}

/// The objects of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFolder(pub ObjectName);

impl JobFolder {
    /// The folder of the receipts: text, one a line.
    pub fn receipts(&self) -> ObjectName {
        self.0.join("receipts")
    }

    /// The folder of the grouped cells.
    pub fn cells(&self) -> ObjectName {
        self.0.join("cells")
    }
}

/// Runs jobs on a cluster.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait JobRunner {
    /// Maps every task once or more often, puts one receipt of each to [`JobFolder::receipts`], groups the partial sums, and
    /// puts them, in the order of the scan, to [`JobFolder::cells`].
    ///
    /// # Errors
    /// The cluster, or a task. What was put so far may remain.
    ///
    /// # Cancellation
    /// The job is stopped as far as the cluster lets it.
    async fn run(&self, job: &Job, tasks: &[MapTask], folder: &JobFolder) -> Result<(), JobError>;
}

/// Why a job was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The job could not be submitted.
    #[error("{program} cannot be run: {cause}")]
    NotStarted { program: String, cause: String },
    /// It has ended without success.
    #[error("{program} has ended with {code} after {} s; its last lines: {last_lines}", after.as_secs())]
    Failed {
        program: String,
        code: String,
        after: Duration,
        last_lines: String,
    },
    /// It needs a setting.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// It was done, and what it says of it contradicts itself or the archive.
    #[error("the accounts of the job disagree: {0}")]
    Unaccounted(String),
}

const NOT_STARTED: &str = "name the program and its arguments as submit in [totals.spark], for example submit = [\"spark-submit\", \"--master\", \
                           \"yarn\"]";
const FAILED: &str = "see docs/operations/totals.md, \"The Spark job failed\"; nothing of the job counts, and the next build \
                      uses the partial sums that it has put";
const UNACCOUNTED: &str =
    "nothing was published; see docs/operations/totals.md, \"The accounts of a job disagree\"";
const NOT_CONFIGURED: &str = "see docs/operations/totals.md, \"On Spark\"";

impl From<JobError> for UserError {
    fn from(error: JobError) -> Self {
        match &error {
            JobError::NotStarted { .. } => Self::new(error, NOT_STARTED),
            JobError::Failed { .. } => Self::new(error, FAILED),
            JobError::NotConfigured(_) => Self::new(error, NOT_CONFIGURED),
            JobError::Unaccounted(_) => Self::new(error, UNACCOUNTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_testkit::objects::MemoryStore;

    #[tokio::test]
    async fn what_builds_have_left_is_deleted_and_nothing_else() {
        let store = MemoryStore::default();
        let objects = JobObjects::new("plays");
        let id = TotalsId("0123456789abcdef".to_owned());
        let folder = objects.job(&id, 7);
        let others = [
            "partials/v1/plays2/a.parquet",
            "totals/v1/plays/a/manifest.json",
        ];
        let others = others.map(|name| ObjectName(name.to_owned()));
        let left = [
            objects.partial("ab"),
            folder.cells().join("part-0.parquet"),
            folder.receipts().join("part-0"),
        ];
        for name in left.iter().chain(&others) {
            store.objects().set(name.clone(), b"".to_vec());
        }
        assert_eq!(objects.delete(&store).await, Ok(3));
        assert_eq!(store.objects().names(), others);
        assert_eq!(objects.delete(&store).await, Ok(0));
    }
}

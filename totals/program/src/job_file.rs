//! The files that go with a job to the executors: what every task needs, and the tasks.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stitch_common::user_error::UserError;

use crate::job::{Job, JobFolder, MapTask};

/// The job's name on executors.
pub(crate) const JOB: &str = "stitch-job.json";
/// The name of the tasks, a line each.
pub(crate) const TASKS: &str = "stitch-tasks.jsonl";

/// What the program on executors and the one of Spark's driver need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFile {
    pub(crate) archive_url: String,
    pub(crate) totals_url: String,
    /// The URL of the totals as Spark names it.
    pub(crate) spark_url: String,
    /// The name of the file that executors run.
    pub(crate) program: String,
    /// The folders of what Spark writes.
    pub(crate) receipts: String,
    pub(crate) cells: String,
    pub(crate) task_memory_bytes_max: usize,
    pub(crate) task_spill_bytes_max: u64,
    pub(crate) job: Job,
}

impl JobFile {
    pub(crate) fn with_folder(mut self, folder: &JobFolder) -> Self {
        self.receipts = folder.receipts().0;
        self.cells = folder.cells().0;
        self
    }

    /// Writes it and the tasks to `folder`.
    pub(crate) fn write(&self, tasks: &[MapTask], folder: &Path) -> io::Result<()> {
        let line = |task| serde_json::to_string(task).expect("plain data serialises") + "\n";
        let tasks: String = tasks.iter().map(line).collect();
        let job = serde_json::to_vec(self).expect("plain data serialises");
        fs::write(folder.join(JOB), job)?;
        fs::write(folder.join(TASKS), tasks)
    }

    /// Reads the job at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, UserError> {
        let unusable = |cause: &dyn std::fmt::Display| {
            let what = format!("the job {} cannot be read: {cause}", path.display());
            let help = "run it where stitch-totals build --engine spark has it run";
            UserError::new(what, help)
        };
        let text = fs::read(path).map_err(|cause| unusable(&cause))?;
        serde_json::from_slice(&text).map_err(|cause| unusable(&cause))
    }
}

/// The tasks in `text`, a line each.
pub(crate) fn tasks_in(text: &str) -> Result<Vec<MapTask>, UserError> {
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let task = |(number, line): (u32, &str)| {
        serde_json::from_str(line).map_err(|error| {
            let what = format!("line {number} of standard input is no task: {error}");
            UserError::new(what, "a task is a line of the job's stitch-tasks.jsonl")
        })
    };
    lines.map(task).collect()
}

//! Runs jobs on Spark, by the command that users submit theirs with.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use stitch_common::clock::{Clock, SystemClock};
use stitch_common::printable::printable_line;
use stitch_config::Config;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use crate::job::{Job, JobError, JobFolder, JobRunner, MapTask};
use crate::job_file::{JOB, JobFile, TASKS};

/// What Spark runs.
const SCRIPT: &str = include_str!("spark_job.py");
const SCRIPT_NAME: &str = "stitch_job.py";
/// Lines of a job that failed that are shown, and characters of each.
const LINES_MAX: usize = 12;
const LINE_CHARACTERS_MAX: usize = 500;

/// Runs jobs by `spark-submit`, or what is configured instead.
pub(crate) struct SparkSubmit {
    submit: Vec<String>,
    program: PathBuf,
    /// Where files are kept until the job is over.
    folder: PathBuf,
    archive_url: String,
    totals_url: String,
    spark_url: String,
    task_memory_bytes_max: usize,
    task_spill_bytes_max: u64,
}

impl SparkSubmit {
    /// What `config` says.
    ///
    /// # Errors
    /// A setting is missing that jobs need.
    pub(crate) fn new(config: &Config) -> Result<Self, JobError> {
        let (totals, spark) = (&config.totals, &config.totals.spark);
        if spark.submit.is_empty() {
            return Err(JobError::NotConfigured(
                "engine spark needs submit in [totals.spark]: the command that submits jobs to the cluster",
            ));
        }
        let Some(archive_url) = config.archive.url.clone() else {
            return Err(JobError::NotConfigured(
                "engine spark needs url in [archive]: executors read the archive, and not Kafka",
            ));
        };
        let totals_url = totals.url.clone().unwrap_or_else(|| archive_url.clone());
        let spark_url = match &spark.url {
            Some(url) => url.clone(),
            None => spark_url(&totals_url)?,
        };
        let program = match &spark.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(|cause| JobError::NotStarted {
                program: "the program itself".to_owned(),
                cause: cause.to_string(),
            })?,
        };
        Ok(Self {
            submit: spark.submit.clone(),
            program,
            folder: totals.spill.clone(),
            archive_url,
            totals_url,
            spark_url: spark_url.trim_end_matches('/').to_owned(),
            task_memory_bytes_max: spark.task_memory_bytes_max,
            task_spill_bytes_max: u64::try_from(totals.spill_bytes_max).unwrap_or(u64::MAX),
        })
    }

    fn command(&self, files: &Path) -> Command {
        let sent = [files.join(JOB), files.join(TASKS), self.program.clone()];
        let sent = sent.map(|file| file.display().to_string()).join(",");
        let mut command = Command::new(&self.submit[0]);
        command
            .args(&self.submit[1..])
            .args(["--name", "stitch-totals", "--files", &sent])
            .arg(files.join(SCRIPT_NAME))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn not_started(&self, cause: &dyn std::fmt::Display) -> JobError {
        JobError::NotStarted {
            program: self.submit[0].clone(),
            cause: cause.to_string(),
        }
    }

    fn job_file(&self, job: &Job) -> JobFile {
        let name = self.program.file_name().unwrap_or_default();
        JobFile {
            archive_url: self.archive_url.clone(),
            totals_url: self.totals_url.clone(),
            spark_url: self.spark_url.clone(),
            program: name.to_string_lossy().into_owned(),
            receipts: String::new(),
            cells: String::new(),
            task_memory_bytes_max: self.task_memory_bytes_max,
            task_spill_bytes_max: self.task_spill_bytes_max,
            job: job.clone(),
        }
    }
}

impl JobRunner for SparkSubmit {
    async fn run(&self, job: &Job, tasks: &[MapTask], folder: &JobFolder) -> Result<(), JobError> {
        let files = std::path::absolute(&self.folder)
            .and_then(tempfile::tempdir_in)
            .map_err(|cause| self.not_started(&cause))?;
        let file = self.job_file(job).with_folder(folder);
        file.write(tasks, files.path())
            .and_then(|()| std::fs::write(files.path().join(SCRIPT_NAME), SCRIPT))
            .map_err(|cause| self.not_started(&cause))?;
        let begun = SystemClock.now();
        let mut child = self.command(files.path()).spawn();
        let child = child.as_mut().map_err(|cause| self.not_started(cause))?;
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let (_, last_lines, ended) =
            tokio::join!(last_lines(out), last_lines(errors), child.wait());
        let status = ended.map_err(|cause| self.not_started(&cause))?;
        if status.success() {
            return Ok(());
        }
        Err(JobError::Failed {
            program: self.submit[0].clone(),
            code: code_of(status),
            after: SystemClock.now().since(begun),
            last_lines: Vec::from(last_lines).join(" | "),
        })
    }
}

fn code_of(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

/// Where Spark finds the totals that are at `url`.
fn spark_url(url: &str) -> Result<String, JobError> {
    match url.split_once("://") {
        Some(("s3", rest)) => Ok(format!("s3a://{rest}")),
        Some(("az", _)) => Err(JobError::NotConfigured(
            "engine spark needs url in [totals.spark]: where the totals are, as Spark names it, for example abfss://…",
        )),
        Some(_) | None => Ok(url.to_owned()),
    }
}

/// Reads a pipe to its end, and returns its last lines: those that may say why a job failed.
async fn last_lines(pipe: Option<impl AsyncRead + Unpin>) -> VecDeque<String> {
    let mut last = VecDeque::new();
    let Some(pipe) = pipe else {
        return last;
    };
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    // A pipe that breaks has ended.
    while pipe
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let raw = String::from_utf8_lossy(&line);
        let is_of_use = !says_nothing(raw.trim());
        let text = printable_line(raw.trim()).into_owned();
        line.clear();
        tracing::debug!(line = text, "the job says");
        if !is_of_use {
            continue;
        }
        if last.len() == LINES_MAX {
            last.pop_front();
        }
        last.push_back(text.chars().take(LINE_CHARACTERS_MAX).collect());
    }
    last
}

/// Frames of a stack, and what Spark logs of its progress.
fn says_nothing(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("at ")
        || line.starts_with("... ")
        || line.contains(" INFO ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    #[test]
    fn spark_finds_totals_where_they_are() {
        assert_eq!(spark_url("s3://b/p").unwrap(), "s3a://b/p");
        for same in ["file:///var/lib/stitch", "gs://b"] {
            assert_eq!(spark_url(same).unwrap(), same);
        }
        assert!(matches!(
            spark_url("az://c/p"),
            Err(JobError::NotConfigured(_))
        ));
    }

    #[test]
    fn the_last_lines_are_those_that_say_why() {
        let mut text = "26/11/28 INFO SparkContext: fine\n".to_owned();
        for number in 0..20 {
            text += &format!("line {number}\n\tat a.frame\n");
        }
        text += "\u{1b}[31mlast";
        let lines = block_on(last_lines(Some(text.as_bytes())));
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[0], "line 9");
        assert_eq!(lines[LINES_MAX - 1], "\\u{1b}[31mlast");
    }
}

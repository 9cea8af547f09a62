//! The load generator, oha: it draws addresses at random from a list, and can keep a rate however late answers come.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::process::Program;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::process_usage::children_cpu_seconds;

/// Time after the measured one: for answers in flight, and for oha's summary.
const SLACK: Duration = Duration::from_secs(60);
/// How oha reports requests that it aborts at the deadline.
const ABORTED: &str = "aborted due to deadline";

/// Connections, rate and duration of a run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub connections: u32,
    /// Requests a second; without one, each connection sends its next request when the last is answered.
    pub rate: Option<f64>,
    pub time: Duration,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LoadResult {
    pub seconds: f64,
    /// Requests answered with 200.
    pub answered: f64,
    /// Requests answered with 503.
    pub refused: f64,
    /// Requests with another answer, or with none.
    pub failed: f64,
    /// Latency of requests answered with 200.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// CPU seconds used by oha.
    pub cpu_seconds: f64,
}

impl LoadResult {
    pub fn per_second(&self) -> f64 {
        self.answered / self.seconds
    }

    /// The share of all the machine's cores that oha used.
    pub fn cpu_share(&self) -> f64 {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        self.cpu_seconds / self.seconds / f64::from(cores)
    }
}

impl std::ops::AddAssign for LoadResult {
    /// Keeps the longer latencies.
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.answered += other.answered;
        self.refused += other.refused;
        self.failed += other.failed;
        self.p50_ms = self.p50_ms.max(other.p50_ms);
        self.p99_ms = self.p99_ms.max(other.p99_ms);
        self.cpu_seconds += other.cpu_seconds;
    }
}

/// The part of oha's report that is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OhaReport {
    summary: Summary,
    latency_percentiles_successful: Percentiles,
    status_code_distribution: std::collections::BTreeMap<String, f64>,
    error_distribution: std::collections::BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Summary {
    total: f64,
}

/// In seconds; none if nothing was answered.
#[derive(Debug, Deserialize)]
struct Percentiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

/// What is requested, at random.
#[derive(Clone, Debug)]
pub enum Requests {
    /// These addresses.
    Get(Vec<String>),
    /// One address, with these bodies.
    Post(String, Vec<String>),
}

/// The program, and the folder of its files.
#[derive(Clone, Debug)]
pub struct Generator {
    pub path: PathBuf,
    pub folder: PathBuf,
}

impl Generator {
    /// Sends requests.
    pub async fn run(&self, requests: &Requests, load: Load) -> Result<LoadResult> {
        let mut arguments: Vec<String> = [
            "--no-tui",
            "--output-format",
            "json",
            "--stats-success-breakdown",
            // The bare driver compresses nothing either.
            "--disable-compression",
            "--worker-threads",
            "1",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend(["-z".to_owned(), format!("{}ms", load.time.as_millis())]);
        arguments.extend(["-c".to_owned(), load.connections.to_string()]);
        if let Some(rate) = load.rate {
            arguments.extend(["-q".to_owned(), format!("{rate:.1}")]);
            // Time counts from when a request was due, not from when a connection was free.
            arguments.push("--latency-correction".to_owned());
        }
        arguments.extend(self.of_requests(requests)?);
        let program = Program {
            name: "oha".to_owned(),
            path: self.path.clone(),
            arguments,
            environment: Vec::new(),
            folder: self.folder.clone(),
        };
        let cpu_before = children_cpu_seconds()?;
        let finished = program.run(load.time + SLACK).await?;
        let cpu_seconds = children_cpu_seconds()? - cpu_before;
        ensure!(
            finished.code == Some(0),
            "oha exited with {:?}: {}",
            finished.code,
            finished.errors
        );
        let report: OhaReport =
            serde_json::from_str(&finished.output).with_context(|| finished.output.clone())?;
        Ok(report.result(cpu_seconds))
    }

    /// The arguments that say what is requested, and the file that they name.
    fn of_requests(&self, requests: &Requests) -> Result<Vec<String>> {
        let list = self.folder.join("requests.txt");
        let lines = match requests {
            Requests::Get(lines) | Requests::Post(_, lines) => lines,
        };
        fs::write(&list, lines.join("\n"))?;
        let list = list.display().to_string();
        Ok(match requests {
            Requests::Get(_) => vec!["--urls-from-file".to_owned(), list],
            Requests::Post(address, _) => {
                let post = ["-m", "POST", "-T", "application/json", "-Z", &list, address];
                post.map(str::to_owned).into()
            }
        })
    }
}

impl OhaReport {
    fn result(&self, cpu_seconds: f64) -> LoadResult {
        let status = |code: &str| {
            let requests = self.status_code_distribution.get(code);
            requests.copied().unwrap_or_default()
        };
        let all: f64 = self.status_code_distribution.values().sum();
        let errors = self.error_distribution.iter();
        let failed: f64 = errors
            .filter(|(error, _)| *error != ABORTED)
            .map(|(_, times)| times)
            .sum();
        let ms = |seconds: Option<f64>| seconds.unwrap_or_default() * 1000.0;
        let latency = &self.latency_percentiles_successful;
        LoadResult {
            seconds: self.summary.total,
            answered: status("200"),
            refused: status("503"),
            failed: all - status("200") - status("503") + failed,
            p50_ms: ms(latency.p50),
            p99_ms: ms(latency.p99),
            cpu_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_aborted_at_the_deadline_are_not_counted_as_failed() {
        let report = r#"{
            "summary": {"total": 2.0, "successRate": 1.0},
            "latencyPercentilesSuccessful": {"p50": 0.001, "p99": 0.5},
            "statusCodeDistribution": {"200": 10, "503": 4, "500": 1},
            "errorDistribution": {"aborted due to deadline": 7, "connection refused": 2}
        }"#;
        let loaded = serde_json::from_str::<OhaReport>(report)
            .unwrap()
            .result(0.5);
        assert_eq!(
            (loaded.answered, loaded.refused, loaded.failed),
            (10.0, 4.0, 3.0)
        );
        assert_eq!((loaded.p50_ms, loaded.p99_ms), (1.0, 500.0));
        assert_eq!(loaded.per_second(), 5.0);
    }
}

//! oha, which makes the load: it takes addresses by chance from a list, and can keep to a rate however late answers come.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use stitch_harness::process::Program;

use crate::vitals::ended_children_cpu_seconds;

/// After the time that is measured: the answers that are still on their way, and what oha adds up.
const SLACK: Duration = Duration::from_secs(60);
/// What oha calls requests that it breaks off when time is over.
const BROKEN_OFF: &str = "aborted due to deadline";

/// What is asked for, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: u32,
    /// Requests a second; each connection asks again as soon as it is answered if there is none.
    pub(super) rate: Option<f64>,
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Loaded {
    pub(crate) seconds: f64,
    /// Requests answered with 200.
    pub(crate) answered: f64,
    /// Requests answered with 503.
    pub(crate) refused: f64,
    /// Requests that came to nothing.
    pub(crate) failed: f64,
    /// How long it took to be answered with 200, for half of the requests and for 99 of 100.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Seconds of a processor that oha has used.
    pub(crate) cpu_seconds: f64,
}

impl Loaded {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered / self.seconds
    }

    /// What oha has used of all the machine's processors.
    pub(crate) fn cpu_share(&self) -> f64 {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        self.cpu_seconds / self.seconds / f64::from(cores)
    }
}

impl std::ops::AddAssign for Loaded {
    /// Of both, the longer times.
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

/// The part of oha's answer that is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
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

/// The program, and where its files go.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    pub(super) path: PathBuf,
    pub(super) folder: PathBuf,
}

impl Generator {
    /// Asks for addresses out of a list by chance.
    pub(super) async fn ask(&self, addresses: &[String], load: Load) -> Result<Loaded> {
        let list = self.folder.join("addresses.txt");
        fs::write(&list, addresses.join("\n"))?;
        let mut arguments: Vec<String> = [
            "--no-tui",
            "--output-format",
            "json",
            "--stats-success-breakdown",
            // What is compared with it compresses nothing either.
            "--disable-compression",
            "--worker-threads",
            "1",
            "--urls-from-file",
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
        arguments.push(list.display().to_string());
        let program = Program {
            name: "oha".to_owned(),
            path: self.path.clone(),
            arguments,
            environment: Vec::new(),
            folder: self.folder.clone(),
        };
        let cpu_before = ended_children_cpu_seconds()?;
        let finished = program.run(load.time + SLACK).await?;
        let cpu_seconds = ended_children_cpu_seconds()? - cpu_before;
        ensure!(
            finished.code == Some(0),
            "oha ended with {:?}: {}",
            finished.code,
            finished.errors
        );
        let told: Told =
            serde_json::from_str(&finished.output).with_context(|| finished.output.clone())?;
        Ok(told.loaded(cpu_seconds))
    }
}

impl Told {
    fn loaded(&self, cpu_seconds: f64) -> Loaded {
        let status = |code: &str| {
            let found = self.status_code_distribution.get(code);
            found.copied().unwrap_or_default()
        };
        let all: f64 = self.status_code_distribution.values().sum();
        let errors = self.error_distribution.iter();
        let broken: f64 = errors
            .filter(|(error, _)| *error != BROKEN_OFF)
            .map(|(_, times)| times)
            .sum();
        let ms = |seconds: Option<f64>| seconds.unwrap_or_default() * 1000.0;
        let took = &self.latency_percentiles_successful;
        Loaded {
            seconds: self.summary.total,
            answered: status("200"),
            refused: status("503"),
            failed: all - status("200") - status("503") + broken,
            p50_ms: ms(took.p50),
            p99_ms: ms(took.p99),
            cpu_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_broken_off_at_the_end_has_not_failed() {
        let told = r#"{
            "summary": {"total": 2.0, "successRate": 1.0},
            "latencyPercentilesSuccessful": {"p50": 0.001, "p99": 0.5},
            "statusCodeDistribution": {"200": 10, "503": 4, "500": 1},
            "errorDistribution": {"aborted due to deadline": 7, "connection refused": 2}
        }"#;
        let loaded = serde_json::from_str::<Told>(told).unwrap().loaded(0.5);
        assert_eq!(
            (loaded.answered, loaded.refused, loaded.failed),
            (10.0, 4.0, 3.0)
        );
        assert_eq!((loaded.p50_ms, loaded.p99_ms), (1.0, 500.0));
        assert_eq!(loaded.per_second(), 5.0);
    }
}

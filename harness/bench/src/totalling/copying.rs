//! The archiver beside a consumer that discards, in turn, on the same topic.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use stitch_harness::process::Program;
use stitch_harness::test_namespace::TestNamespace;

use super::BOUND;
use stitch_harness::process_usage::{Usage, watch};

/// Records copied and records discarded, and what each took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Copying {
    archived: Work,
    discarded: Work,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Work {
    pub(crate) records: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mib: f64,
}

impl Work {
    fn add(&mut self, records: u32, usage: &Usage) {
        self.records += f64::from(records);
        self.seconds += usage.seconds;
        self.cpu_seconds += usage.cpu_seconds;
        self.peak_mib = self.peak_mib.max(usage.peak_mib);
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.records / self.seconds
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_seconds / self.records * 1e6
    }
}

impl Copying {
    pub(crate) const fn archived(&self) -> &Work {
        &self.archived
    }

    pub(crate) const fn discarded(&self) -> &Work {
        &self.discarded
    }

    pub(crate) fn share_of_bare(&self) -> f64 {
        self.archived.per_second() / self.discarded.per_second()
    }

    /// Archives the topic once, and discards it before and after.
    pub(super) async fn measure(&mut self, namespace: &TestNamespace, records: u32) -> Result<()> {
        self.discard(namespace, records).await?;
        let program = namespace.archive_command("run", &["--once", "--output", "json"])?;
        let (finished, usage) = watch(&program, &[0], None, BOUND).await?;
        let answer: Value = serde_json::from_str(&finished.output)?;
        let archived = answer["records"].as_f64().context("records")?;
        ensure!(
            (archived - f64::from(records)).abs() < 0.5,
            "{archived} records were archived, not {records}"
        );
        self.archived.add(records, &usage);
        self.discard(namespace, records).await
    }

    async fn discard(&mut self, namespace: &TestNamespace, records: u32) -> Result<()> {
        let kafka = &namespace.servers.kafka;
        let arguments = ["discard", "--kafka", kafka, "--topic", namespace.topic()];
        let program = Program {
            name: "baseline-discard".to_owned(),
            path: std::env::current_exe()?,
            arguments: arguments.map(str::to_owned).into(),
            environment: Vec::new(),
            folder: namespace.folder.clone(),
        };
        let (_, usage) = watch(&program, &[0], None, BOUND).await?;
        self.discarded.add(records, &usage);
        Ok(())
    }
}

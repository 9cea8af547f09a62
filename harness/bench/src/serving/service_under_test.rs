//! The simplest HTTP service, while it is measured.

use std::time::Duration;

use anyhow::{Result, ensure};
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;
use crate::baseline;
use stitch_harness::process_usage::cpu_seconds;

const BOUND: Duration = Duration::from_secs(30);

pub(super) struct ServiceUnderTest {
    process: Process,
    pub(super) address: String,
}

impl ServiceUnderTest {
    /// Starts it.
    pub(super) async fn open(bench: &Bench, keyspace: &str) -> Result<Self> {
        let mut process = baseline::service(bench, keyspace)?.start()?;
        let address = TestNamespace::address(&mut process).await?;
        Ok(Self { process, address })
    }

    /// CPU time that it has used so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.process.pid())
    }

    /// Stops it; fails unless it exits with 0.
    pub(super) async fn close(self) -> Result<()> {
        let finished = self.process.stop(BOUND).await?;
        ensure!(finished.code == Some(0), "{finished:?}");
        Ok(())
    }
}

//! Archivers that are killed, and a log that loses what they have archived: the last restoration has totals and archive
//! instead.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::testbed::Testbed;

/// How long each archiver lives: long enough for a few segments.
const LIVES: [Duration; 2] = [Duration::from_millis(4100), Duration::from_millis(2700)];
/// Longest time until everything is archived.
const BOUND: Duration = Duration::from_secs(60);

/// Runs archivers, one after the other, each of which is killed (kill -9) at its work.
pub(crate) async fn run_and_kill(testbed: &Testbed) -> Result<()> {
    for life in LIVES {
        let mut archiver = testbed.namespace.archive_command("run", &[])?.start()?;
        sleep(life).await;
        // It may have ended by itself: a server that is away is a reason.
        match archiver.kill().await {
            Ok(()) => testbed.timeline.note("an archiver was killed"),
            Err(error) => testbed
                .timeline
                .note(format!("an archiver had ended: {error:#}")),
        }
    }
    Ok(())
}

/// Archives what is left. Then the log loses all of its records. Everything has been counted, and nothing is produced.
pub(crate) async fn lose_the_log(testbed: &Testbed) -> Result<()> {
    let archived = testbed.namespace.archive_command("run", &["--once"])?;
    let archived = archived.run(BOUND).await?;
    ensure!(
        archived.code == Some(0),
        "the archiver exited with {:?}: {}",
        archived.code,
        archived.errors
    );
    let deleted = testbed.namespace.forget_log().await?;
    testbed.timeline.note(format!(
        "{deleted} records are archived, and the log has lost them"
    ));
    Ok(())
}

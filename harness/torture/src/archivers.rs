//! Archivers that are killed, and a log that loses what they have archived: the last restoration has totals and archive
//! instead.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::plan::Way;
use crate::testbed::Testbed;

/// Two archivers at once, one of which has faulty lines, by how long each start of theirs lives: long enough for a few
/// segments.
const ARCHIVERS: [(Way, [Duration; 2]); 2] = [
    (
        Way::Straight,
        [Duration::from_millis(4100), Duration::from_millis(2700)],
    ),
    (
        Way::Proxied,
        [Duration::from_millis(5600), Duration::from_millis(3900)],
    ),
];
/// Longest time until everything is archived.
const BOUND: Duration = Duration::from_secs(60);

/// Runs archivers that share the partitions, each of which is killed (kill -9) at its work, twice.
pub(crate) async fn run_and_kill(testbed: &Testbed) -> Result<()> {
    let archivers = ARCHIVERS.into_iter().enumerate();
    let archivers = archivers.map(|(number, (way, lives))| one(testbed, number + 1, way, lives));
    try_join_all(archivers).await?;
    Ok(())
}

async fn one(testbed: &Testbed, number: usize, way: Way, lives: [Duration; 2]) -> Result<()> {
    let name = format!("archiver-{number}");
    for life in lives {
        let mut program = testbed.namespace.archive_command("run", &[])?;
        program.environment = testbed.environment(&name, way)?;
        let mut archiver = program.start()?;
        sleep(life).await;
        // It may have ended by itself: a server that is away is a reason.
        match archiver.kill().await {
            Ok(()) => testbed
                .timeline
                .note(format!("{name}, {way:?}, was killed")),
            Err(error) => testbed
                .timeline
                .note(format!("{name} had ended: {error:#}")),
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

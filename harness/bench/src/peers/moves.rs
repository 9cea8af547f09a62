//! (m): how long events wait when a second process joins, and when one of two is killed. Flink's job is one process here, so
//! the peer is Kafka Streams.

use anyhow::{Context, Result};
use serde::Serialize;

use super::steady::{self, Disrupted, Disruption, Lag};
use super::system::{PeerPrograms, System};
use crate::Bench;

/// What was measured of one system.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Moved {
    /// Before a second process joins: of one process.
    pub(crate) steady: Lag,
    pub(crate) joined: Disrupted,
    pub(crate) lost: Disrupted,
}

/// The results of (m).
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Moves {
    pub(crate) stitch: Moved,
    pub(crate) streams: Moved,
}

/// Measures both systems at the same rate.
pub(crate) async fn measure(bench: &mut Bench, programs: &PeerPrograms) -> Result<Moves> {
    Ok(Moves {
        stitch: moved(bench, programs, System::Stitch).await?,
        streams: moved(bench, programs, System::KafkaStreams).await?,
    })
}

async fn moved(bench: &mut Bench, programs: &PeerPrograms, system: System) -> Result<Moved> {
    let per_second = f64::from(bench.sizes.moved_per_second);
    bench.say(&format!("{}: a second process joins", system.name()))?;
    let joined = Some(Disruption::Join);
    let (steady, joined) = steady::measure(bench, programs, system, per_second, joined).await?;
    bench.say(&format!("{}: one of two is killed", system.name()))?;
    let lost = Some(Disruption::Loss);
    let (_, lost) = steady::measure(bench, programs, system, per_second, lost).await?;
    Ok(Moved {
        steady,
        joined: joined.context("a second process")?,
        lost: lost.context("a killed process")?,
    })
}

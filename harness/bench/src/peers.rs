//! (j): the processor beside what one would build instead: a stream processor that keeps totals in state of its own, exactly
//! once, and writes them to plain columns. Kafka Streams and Flink, in turn with Stitch, on the same servers.

mod backlog;
pub(crate) mod moves;
mod probes;
mod steady;
mod system;
mod table;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Bench;
use crate::load::Keys;
pub(crate) use backlog::Drained;
use steady::Disruption;
pub(crate) use steady::{Disrupted, Lag};
pub(crate) use system::{PeerPrograms, System};

/// Shares of the rate that a system sustains, in percent.
pub(crate) const LOADS: [u32; 3] = [10, 50, 90];
/// The one of them at which a process is killed, in a run of its own.
const KILLED_AT: u32 = 50;

/// What was measured of one system.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct OfSystem {
    pub(crate) uniform: Vec<Drained>,
    pub(crate) zipf: Vec<Drained>,
    /// In the order of [`LOADS`].
    pub(crate) lags: Vec<Lag>,
    /// Of Stitch at the rates of these `lags`.
    pub(crate) lags_of_stitch: Vec<Lag>,
    pub(crate) killed: Option<Disrupted>,
}

/// The results of (j).
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Peers {
    pub(crate) stitch: OfSystem,
    pub(crate) streams: OfSystem,
    pub(crate) flink: OfSystem,
}

impl Peers {
    pub(crate) const fn of(&self, system: System) -> &OfSystem {
        match system {
            System::Stitch => &self.stitch,
            System::KafkaStreams => &self.streams,
            System::Flink => &self.flink,
        }
    }

    const fn of_mut(&mut self, system: System) -> &mut OfSystem {
        match system {
            System::Stitch => &mut self.stitch,
            System::KafkaStreams => &mut self.streams,
            System::Flink => &mut self.flink,
        }
    }
}

/// Measures them in turn, so that a machine that becomes slower does so for all of them.
pub(crate) async fn measure(bench: &mut Bench, programs: &PeerPrograms) -> Result<Peers> {
    let sizes = bench.sizes.clone();
    let mut all = Peers::default();
    let backlogs = [
        (Keys::Uniform(sizes.tracks), sizes.peer_uniform_backlog),
        (Keys::Zipf(sizes.tracks), sizes.peer_zipf_backlog),
    ];
    // Young servers are slower: what they are asked first does not count. Counters and plain values
    // take different paths in Cassandra, and that of counters got faster for three rounds.
    for system in System::EVERY {
        bench.say(&format!("warming up: {}", system.name()))?;
        let [(keys, events), _] = backlogs;
        backlog::drain(bench, programs, system, keys, events).await?;
    }
    for round in 1..=sizes.rounds {
        for system in System::EVERY {
            for (keys, events) in backlogs {
                bench.say(&format!("round {round}: {}, {keys:?}", system.name()))?;
                let drained = backlog::drain(bench, programs, system, keys, events).await?;
                let of_system = all.of_mut(system);
                match keys {
                    Keys::Zipf(_) => of_system.zipf.push(drained),
                    Keys::Uniform(_) | Keys::Each { .. } | Keys::Scattered(_) => {
                        of_system.uniform.push(drained);
                    }
                }
            }
        }
    }
    for system in System::EVERY {
        let sustained = Drained::mean_rate(&all.of(system).uniform).context("a round")?;
        for percent in LOADS {
            bench.say(&format!(
                "{} at {percent} % of {sustained:.0} events a second",
                system.name()
            ))?;
            let per_second = sustained * f64::from(percent) / 100.0;
            let (lag, _) = steady::measure(bench, programs, system, per_second, None).await?;
            all.of_mut(system).lags.push(lag);
            if system != System::Stitch {
                let stitch = System::Stitch;
                bench.say(&format!("Stitch at {per_second:.0} events a second"))?;
                let (lag, _) = steady::measure(bench, programs, stitch, per_second, None).await?;
                all.of_mut(system).lags_of_stitch.push(lag);
            }
        }
        bench.say(&format!("{} at {KILLED_AT} %, killed", system.name()))?;
        let per_second = sustained * f64::from(KILLED_AT) / 100.0;
        let killed = Some(Disruption::Restart);
        let (_, killed) = steady::measure(bench, programs, system, per_second, killed).await?;
        all.of_mut(system).killed = killed;
    }
    Ok(all)
}

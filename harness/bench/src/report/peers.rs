//! The rows of (j).

use super::{Row, percent, thousands};
use crate::peers::moves::{Moved, Moves};
use crate::peers::{Disrupted, Drained, LOADS, Lag, OfSystem, Peers, System};

const LAG_AIM_MS: f64 = 1000.0;
const LAG_AIM_AT: u32 = 50;

pub(super) fn rows(peers: &Peers) -> Vec<Row> {
    let mut rows = Vec::new();
    let uniform: fn(&OfSystem) -> &[Drained] = |system| &system.uniform;
    let zipf: fn(&OfSystem) -> &[Drained] = |system| &system.zipf;
    for (keys, rounds, system, times, aim) in [
        ("uniform keys", uniform, System::KafkaStreams, 2.0, "≥ 2×"),
        ("uniform keys", uniform, System::Flink, 1.0, "≥ 1×"),
        ("zipf 1.1", zipf, System::KafkaStreams, 3.0, "≥ 3×"),
        ("zipf 1.1", zipf, System::Flink, 3.0, "≥ 3×"),
    ] {
        let (stitch, peer) = (rounds(&peers.stitch), rounds(peers.of(system)));
        rows.extend(drained(keys, system, (stitch, peer), (times, aim)));
    }
    for system in [System::KafkaStreams, System::Flink] {
        rows.extend(lags(system, &peers.stitch, peers.of(system)));
        rows.extend(lags_at_one_rate(system, peers.of(system)));
        rows.extend(killed(system, &peers.stitch, peers.of(system)));
    }
    rows
}

fn drained(
    keys: &str,
    system: System,
    (stitch, peer): (&[Drained], &[Drained]),
    (times, aim): (f64, &'static str),
) -> Option<Row> {
    let cell = |rounds: &[Drained]| {
        let mean = |figure: fn(&Drained) -> f64| Drained::mean(rounds, figure);
        Some(format!(
            "{}; {:.0}, {:.1} µs; {:.0} MiB",
            thousands(Drained::mean_rate(rounds)?),
            mean(|round| round.cassandra_cpu_seconds / round.events * 1e6)?,
            mean(|round| round.client_cpu_seconds / round.events * 1e6)?,
            mean(|round| round.peak_mib)?
        ))
    };
    let ratio = Drained::mean_rate(stitch)? / Drained::mean_rate(peer)?;
    Some(Row {
        what: format!(
            "(j) {keys}: events counted a second, against {}; CPU of Cassandra and of the client for an event; peak memory",
            system.name()
        ),
        stitch: cell(stitch)?,
        alternative: cell(peer)?,
        ratio: format!("{ratio:.2}×"),
        aim,
        met: Some(ratio >= times),
    })
}

fn lag(lag: &Lag) -> String {
    format!(
        "{:.0} / {:.0} / {:.0} ms at {} a second",
        lag.p50_ms,
        lag.p99_ms,
        lag.longest_ms,
        thousands(f64::from(lag.per_second))
    )
}

fn lags(system: System, stitch: &OfSystem, peer: &OfSystem) -> Vec<Row> {
    at_each_load(&stitch.lags, &peer.lags, |share, stitch, peer| Row {
        what: format!(
            "(j) an event until it is visible, p50 / p99 / longest, at {} of what each sustains, against {}",
            percent(f64::from(share) / 100.0),
            system.name()
        ),
        stitch: lag(stitch),
        alternative: lag(peer),
        ratio: String::new(),
        aim: if share == LAG_AIM_AT {
            "p99 ≤ 1 s"
        } else {
            ""
        },
        met: (share == LAG_AIM_AT).then_some(stitch.p99_ms <= LAG_AIM_MS),
    })
}

/// Both at the rates of the peer.
fn lags_at_one_rate(system: System, peer: &OfSystem) -> Vec<Row> {
    at_each_load(&peer.lags_of_stitch, &peer.lags, |share, stitch, peer| {
        Row {
            what: format!(
                "(j) an event until it is visible, p50 / p99 / longest, both at {} of what {} sustains",
                percent(f64::from(share) / 100.0),
                system.name()
            ),
            stitch: lag(stitch),
            alternative: lag(peer),
            ratio: format!("{:.2}× (p99)", stitch.p99_ms / peer.p99_ms),
            aim: "",
            met: None,
        }
    })
}

/// A row for each share of [`LOADS`], of the lags of Stitch and of a peer.
fn at_each_load(stitch: &[Lag], peer: &[Lag], row: impl Fn(u32, &Lag, &Lag) -> Row) -> Vec<Row> {
    let lags = LOADS.iter().zip(stitch).zip(peer);
    lags.map(|((share, stitch), peer)| row(*share, stitch, peer))
        .collect()
}

fn killed(system: System, stitch: &OfSystem, peer: &OfSystem) -> Option<Row> {
    let cell = |of_system: &OfSystem| {
        let killed = of_system.killed?;
        let gap = killed.lag.longest_ms / 1000.0;
        Some(format!("{gap:.1} s, {}", wrong(&killed)))
    };
    Some(Row {
        what: format!(
            "(j) `kill -9` at 50 % and a start at once, against {}: longest time until an event is visible, and cells",
            system.name()
        ),
        stitch: cell(stitch)?,
        alternative: cell(peer)?,
        ratio: String::new(),
        aim: "",
        met: None,
    })
}

fn wrong(disrupted: &Disrupted) -> String {
    let restored = disrupted
        .restored_after_seconds
        .map_or_else(String::new, |seconds| {
            format!(", restored in {seconds:.0} s")
        });
    format!(
        "{} of {} wrong{restored}",
        thousands_of(disrupted.wrong),
        thousands_of(disrupted.cells)
    )
}

/// The rows of (m).
pub(super) fn move_rows(moves: &Moves) -> [Row; 3] {
    let Moves { stitch, streams } = moves;
    let row = |what: &str, cell: fn(&Moved) -> String| Row {
        what: format!(
            "(m) an event until it is visible, p50 / p99 / longest, against {}: {what}",
            System::KafkaStreams.name()
        ),
        stitch: cell(stitch),
        alternative: cell(streams),
        ratio: String::new(),
        aim: "",
        met: None,
    };
    [
        row("one process", |moved| lag(&moved.steady)),
        row("from when a second process joins", |moved| {
            after(&moved.joined)
        }),
        row("from `kill -9` of one of two processes", |moved| {
            after(&moved.lost)
        }),
    ]
}

fn after(disrupted: &Disrupted) -> String {
    format!("{}, {}", lag(&disrupted.lag), wrong(disrupted))
}

fn thousands_of(count: u64) -> String {
    thousands(u32::try_from(count).map_or(f64::INFINITY, f64::from))
}

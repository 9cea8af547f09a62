//! The sizes of all measurements.

use std::time::Duration;

use serde::Serialize;

use crate::growth::Fleet;
use crate::totalling::TopicSize;

/// Counts and durations of all parts.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sizes {
    pub(crate) warm_up: Duration,
    /// Long enough for a processor to fill its window and to send it once.
    pub(crate) window_warm_up: Duration,
    pub(crate) measure: Duration,
    /// How often each alternative is measured, in turn with the others.
    pub(crate) rounds: u32,
    /// Tracks in the events of (a) and (b).
    pub(crate) tracks: u32,
    pub(crate) naive_backlog: usize,
    pub(crate) uniform_backlog: u32,
    pub(crate) zipf_backlog: u32,
    /// Tracks in the table of (c) and (d); that of (e) has five times as many.
    pub(crate) table_tracks: u32,
    /// Plans and bare scans of (c).
    pub(crate) plans: u32,
    /// Events a second while locks are held.
    pub(crate) live_per_second: u32,
    /// Locks to measure, unless `locks_budget` is used up before.
    pub(crate) locks: usize,
    pub(crate) locks_budget: Duration,
    /// The shorter backlog of (f): long enough that the window and the buffers of both programs are full.
    pub(crate) memory_backlog: u32,
    /// Tracks in the table of (g).
    pub(crate) served_tracks: u32,
    /// As `warm_up` and `measure`, for (g), which measures more often.
    pub(crate) serve_warm_up: Duration,
    pub(crate) serve_measure: Duration,
    /// The topics of (h), from few cells to many.
    pub(crate) topics: Vec<TopicSize>,
    /// The records that the first audit of (h) reads.
    pub(crate) increment_backlog: u32,
    /// Cells and records of (i).
    pub(crate) bounded_cells: u32,
    pub(crate) bounded_records: u32,
    /// Backlogs of (j): each lasts for many times what a process takes to start.
    pub(crate) peer_uniform_backlog: u32,
    pub(crate) peer_zipf_backlog: u32,
    /// Tracks whose batch counts (k) loads.
    pub(crate) loaded_tracks: u32,
    /// How long events go on after a kill, and after a process was added.
    pub(crate) after_kill: Duration,
    /// The fleets of (l).
    pub(crate) fleets: Vec<Fleet>,
    /// Events a second of (m): few enough for one process to count each at once.
    pub(crate) moved_per_second: u32,
}

impl Sizes {
    /// The sizes of published results.
    pub(crate) fn full() -> Self {
        Self {
            warm_up: Duration::from_secs(4),
            window_warm_up: Duration::from_secs(10),
            measure: Duration::from_secs(12),
            rounds: 2,
            tracks: 100_000,
            naive_backlog: 100_000,
            uniform_backlog: 1_200_000,
            zipf_backlog: 2_400_000,
            table_tracks: 80_000,
            plans: 5,
            live_per_second: 200,
            locks: 100,
            locks_budget: Duration::from_secs(240),
            memory_backlog: 1_000_000,
            served_tracks: 10_000,
            serve_warm_up: Duration::from_secs(3),
            serve_measure: Duration::from_secs(8),
            topics: topics([
                (200_000, 4_000_000),
                (2_000_000, 4_000_000),
                (20_000_000, 20_000_000),
            ]),
            increment_backlog: 2_400_000,
            bounded_cells: 2_000_000,
            bounded_records: 8_000_000,
            peer_uniform_backlog: 2_000_000,
            peer_zipf_backlog: 6_000_000,
            loaded_tracks: 400_000,
            after_kill: Duration::from_secs(40),
            fleets: Fleet::axes(
                Fleet {
                    processors: 4,
                    partitions: 120,
                    range_bits: 6,
                    tracks: 100_000,
                },
                [&[1, 16], &[12, 1_200], &[8, 10, 12], &[10_000, 1_000_000]],
            ),
            moved_per_second: 4_000,
        }
    }

    /// Cells that are corrupted before each restoration: 1 % of the table of (d).
    pub(crate) const fn wrong(&self) -> u32 {
        self.table_tracks * 5 / 100
    }

    /// The same with other numbers of cells and records in (h) and (i).
    pub(crate) fn changed(mut self, cells: Option<u32>, records: Option<u32>) -> Self {
        if let Some(cells) = cells {
            self.bounded_cells = cells;
            let tracks = cells / 5;
            self.topics.truncate(1);
            self.topics
                .iter_mut()
                .for_each(|topic| topic.tracks = tracks);
        }
        if let Some(records) = records {
            self.bounded_records = records;
            self.topics
                .iter_mut()
                .for_each(|topic| topic.records = records);
        }
        self
    }

    /// Small sizes, to see that everything works.
    pub(crate) fn quick() -> Self {
        Self {
            warm_up: Duration::from_secs(2),
            window_warm_up: Duration::from_secs(4),
            measure: Duration::from_secs(4),
            rounds: 1,
            tracks: 100_000,
            naive_backlog: 30_000,
            uniform_backlog: 150_000,
            zipf_backlog: 600_000,
            table_tracks: 8_000,
            plans: 2,
            live_per_second: 100,
            locks: 8,
            locks_budget: Duration::from_secs(60),
            memory_backlog: 50_000,
            served_tracks: 5_000,
            serve_warm_up: Duration::from_secs(1),
            serve_measure: Duration::from_secs(3),
            topics: topics([(10_000, 100_000), (40_000, 100_000), (100_000, 100_000)]),
            increment_backlog: 200_000,
            bounded_cells: 50_000,
            bounded_records: 100_000,
            peer_uniform_backlog: 300_000,
            peer_zipf_backlog: 800_000,
            loaded_tracks: 20_000,
            after_kill: Duration::from_secs(20),
            fleets: Fleet::axes(
                Fleet {
                    processors: 2,
                    partitions: 12,
                    range_bits: 3,
                    tracks: 2_000,
                },
                [&[1], &[24], &[4], &[4_000]],
            ),
            moved_per_second: 1_000,
        }
    }
}

fn topics(sizes: [(u32, u32); 3]) -> Vec<TopicSize> {
    let size = |(tracks, records)| TopicSize { tracks, records };
    sizes.map(size).into()
}

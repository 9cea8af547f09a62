//! The events of the benchmark: plays of tracks within one hour, so that each track has five cells.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use stitch_harness::events::Record;
use stitch_harness::recount::CellId;

/// The only counter, at all five granularities.
pub(crate) const COUNTERS: &str = r#"
[[counter]]
name = "plays"
on = ["play"]
key = "track"
granularities = ["hour", "day", "month", "year", "all"]
"#;

/// The counter's name.
pub(crate) const COUNTER: &str = "plays";

/// Two more, of all time alone, which (g) serves beside it.
pub(crate) const MORE_COUNTERS: &str = r#"
[[counter]]
name = "likes"
on = ["like"]
key = "track"
granularities = ["all"]

[[counter]]
name = "shares"
on = ["share"]
key = "track"
granularities = ["all"]
"#;

/// How many counters (g) serves.
pub(crate) const COUNTERS_SERVED: u32 = 3;

/// What (g) asks for in one query.
pub(crate) const SERVED: [&str; COUNTERS_SERVED as usize] = [COUNTER, "likes", "shares"];

/// The cells of a track: granularity, and where the bucket of every event starts.
pub(crate) const CELLS: [(&str, i64); 5] = [
    ("hour", HOUR_START_MS),
    ("day", 1_699_920_000_000),
    ("month", 1_698_796_800_000),
    ("year", 1_672_531_200_000),
    ("all", 0),
];

/// 2023-11-14T22:00:00Z.
const HOUR_START_MS: i64 = 1_699_999_200_000;
const HOUR_MS: i64 = 3_600_000;

/// Tracks whose events alternate before the next block of tracks begins.
const BLOCK: u32 = 1000;

/// A prime that is no factor of a number of tracks, so that its multiples pass through all of them.
const SCATTER: u64 = 2_654_435_761;

/// The distribution of events over tracks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Equally frequent tracks, in random order.
    Uniform(u32),
    /// Tracks by Zipf's law with exponent 1.1.
    Zipf(u32),
    /// Every track, equally often.
    Each { tracks: u32, times: u32 },
    /// Every track once in as many events as there are tracks, far apart from its neighbours.
    Scattered(u32),
}

/// An endless sequence of events.
pub(crate) struct Load {
    keys: Keys,
    zipf: Option<Zipf<f64>>,
    random: ChaCha8Rng,
    count: u32,
}

impl Load {
    pub(crate) fn new(keys: Keys, seed: u64) -> anyhow::Result<Self> {
        let zipf = match keys {
            Keys::Zipf(tracks) => Some(Zipf::new(f64::from(tracks), 1.1)?),
            Keys::Uniform(_) | Keys::Each { .. } | Keys::Scattered(_) => None,
        };
        Ok(Self {
            keys,
            zipf,
            random: ChaCha8Rng::seed_from_u64(seed),
            count: 0,
        })
    }

    fn track(&mut self) -> String {
        match (self.keys, self.zipf) {
            (Keys::Zipf(_), Some(zipf)) => format!("track-{:.0}", zipf.sample(&mut self.random)),
            (Keys::Uniform(tracks) | Keys::Zipf(tracks), _) => {
                track(self.random.random_range(0..tracks))
            }
            (Keys::Each { tracks, times }, _) => {
                let (block, within) = (self.count / (BLOCK * times), self.count % BLOCK);
                track((block * BLOCK + within) % tracks)
            }
            (Keys::Scattered(tracks), _) => {
                let scattered = u64::from(self.count) * SCATTER % u64::from(tracks);
                track(u32::try_from(scattered).unwrap_or_default())
            }
        }
    }
}

impl Iterator for Load {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let record = play(self.track(), self.count);
        self.count = self.count.wrapping_add(1);
        Some(record)
    }
}

/// The event of a track, so many milliseconds after the hour began, or an hour or more less.
pub(crate) fn play(track: String, after_ms: u32) -> Record {
    let time = HOUR_START_MS + i64::from(after_ms) % HOUR_MS;
    let value = format!(r#"{{"type":"play","track":"{track}","time":{time}}}"#);
    Record {
        key: track.into_bytes(),
        value: Some(value.into_bytes()),
    }
}

/// The key of a track.
pub(crate) fn track(number: u32) -> String {
    format!("track-{number}")
}

/// A random cell of a random track.
pub(crate) fn any_cell(random: &mut impl Rng, tracks: u32) -> CellId {
    let (granularity, bucket_ms) = CELLS[random.random_range(0..CELLS.len())];
    CellId {
        counter: COUNTER.to_owned(),
        key: track(random.random_range(0..tracks)),
        granularity: granularity.to_owned(),
        bucket_ms,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn every_track_has_equally_many_events() {
        let keys = Keys::Each {
            tracks: 3000,
            times: 2,
        };
        let mut events = BTreeMap::<Vec<u8>, u32>::new();
        for record in Load::new(keys, 1).unwrap().take(6000) {
            *events.entry(record.key).or_default() += 1;
        }
        assert_eq!(events.len(), 3000);
        assert!(events.values().all(|times| *times == 2));
    }

    #[test]
    fn scattered_tracks_all_occur_before_one_is_repeated() {
        let load = Load::new(Keys::Scattered(200_000), 1).unwrap();
        let tracks: BTreeSet<Vec<u8>> = load.take(200_000).map(|record| record.key).collect();
        assert_eq!(tracks.len(), 200_000);
    }
}

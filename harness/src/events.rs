//! Events: generated from a seed with skewed keys, or read from a file of JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, FixedOffset, SecondsFormat};
use rand::Rng;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use serde_json::json;

/// A record of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Decides the partition.
    pub key: Vec<u8>,
    /// None: a tombstone of Kafka.
    pub value: Option<Vec<u8>>,
}

/// The distribution of generated events: listeners play, like, buy and return tracks.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Equal seeds generate equal events.
    pub seed: u64,
    pub tracks: u32,
    /// The exponent of Zipf's law over the tracks; 0 for equally frequent ones.
    pub skew: f64,
    /// The earliest time, in milliseconds since 1970.
    pub start_ms: i64,
    /// Times are spread over this many milliseconds.
    pub span_ms: i64,
    /// Whether one purchase in three is a return, with negative cents.
    pub refunds: bool,
    /// The share of unusable records, of every kind.
    pub bad_share: f64,
}

impl Default for Shape {
    fn default() -> Self {
        const DAY_MS: i64 = 86_400_000;
        Self {
            seed: 1,
            tracks: 1000,
            skew: 1.1,
            start_ms: 1_677_628_800_000,
            span_ms: 400 * DAY_MS,
            refunds: true,
            bad_share: 0.0,
        }
    }
}

/// The counters for these events, as in a configuration file.
pub const COUNTERS: &str = r#"
[[counter]]
name = "plays"
on = ["play"]
key = "track"
granularities = ["hour", "day", "month", "year", "all"]

[[counter]]
name = "activity"
on = ["play", "like"]
key = "listener"
granularities = ["day", "all"]

[[counter]]
name = "revenue"
on = ["purchase"]
key = "track"
granularities = ["month", "all"]
amount_from = "cents"
"#;

/// An endless sequence of events.
#[derive(Clone, Debug)]
pub struct Generator {
    shape: Shape,
    random: ChaCha8Rng,
    tracks: Zipf<f64>,
    count: u64,
}

impl Generator {
    /// Events of this shape. Fails if there are no tracks, or the skew is negative.
    pub fn new(shape: Shape) -> Result<Self> {
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(shape.seed),
            tracks: Zipf::new(f64::from(shape.tracks), shape.skew)?,
            count: 0,
            shape,
        })
    }

    fn event(&mut self) -> Record {
        let rank = self.tracks.sample(&mut self.random);
        let track = format!("track-{rank:.0}");
        let at = self.shape.start_ms + self.random.random_range(0..self.shape.span_ms);
        let mut event = json!({
            "id": format!("{}-{}", self.shape.seed, self.count),
            "track": track,
            // Integers are keys, too.
            "listener": self.random.random_range(0..self.shape.tracks),
            "time": self.time(at),
        });
        match self.random.random_range(0..20) {
            0..14 => event["type"] = json!("play"),
            14..17 => event["type"] = json!("like"),
            17..19 => {
                event["type"] = json!("purchase");
                let refund = self.shape.refunds && self.random.random_ratio(1, 3);
                let cents = self.random.random_range(49..2000);
                event["cents"] = json!(if refund { -cents } else { cents });
            }
            // No counter lists this type, so it needs neither time nor key.
            _ => event = json!({"type": "search", "words": "la la"}),
        }
        record(&track, event.to_string())
    }

    /// The instant, in one of the accepted formats.
    fn time(&mut self, at_ms: i64) -> serde_json::Value {
        let Some(utc) = DateTime::from_timestamp_millis(at_ms) else {
            return json!(at_ms);
        };
        let hours = self.random.random_range(-11..=13);
        let text = |format| match FixedOffset::east_opt(hours * 3600) {
            Some(offset) => utc.with_timezone(&offset).to_rfc3339_opts(format, true),
            None => utc.to_rfc3339_opts(format, true),
        };
        match self.random.random_range(0..4) {
            0 => json!(at_ms),
            1 => json!(text(SecondsFormat::Secs)),
            2 => json!(text(SecondsFormat::Nanos)),
            _ => json!(utc.to_rfc3339_opts(SecondsFormat::Millis, true)),
        }
    }
}

impl Iterator for Generator {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.count += 1;
        let bad = self.random.random_bool(self.shape.bad_share);
        Some(if bad {
            bad_records()
                .choose(&mut self.random)
                .map(|(_, record)| record.clone())?
        } else {
            self.event()
        })
    }
}

/// One record of every kind that is unusable for the counters of [`COUNTERS`], each with what is wrong with it.
pub fn bad_records() -> Vec<(&'static str, Record)> {
    const PLAY: &str = r#""type":"play","track":"track-1","listener":1"#;
    const BUY: &str = r#""type":"purchase","time":0,"track":"track-1""#;
    let text = |text: String| record("bad", text);
    let play = |time: &str| text(format!(r#"{{{PLAY},"time":{time}}}"#));
    let buy = |cents: &str| text(format!(r#"{{{BUY},"cents":{cents}}}"#));
    let track = |key: &str| {
        text(format!(
            r#"{{"type":"play","time":0,"listener":1,"track":{key}}}"#
        ))
    };
    let bytes = |value: Option<&[u8]>| Record {
        key: b"bad".to_vec(),
        value: value.map(<[u8]>::to_vec),
    };
    vec![
        ("no value", bytes(None)),
        ("an empty value", bytes(Some(b""))),
        ("not UTF-8", bytes(Some(b"{\"type\":\"play\xff\"}"))),
        ("not JSON", text("play track-1".to_owned())),
        ("cut off", text(format!("{{{PLAY},\"time\":"))),
        (
            "something behind it",
            text(format!("{{{PLAY},\"time\":0}} {{}}")),
        ),
        ("an array", text("[1]".to_owned())),
        ("a text", text("\"play\"".to_owned())),
        ("no time", text(format!("{{{PLAY}}}"))),
        ("a time without offset", play("\"2024-01-01T00:00:00\"")),
        ("a date alone", play("\"2024-01-01\"")),
        ("a day that is not", play("\"2023-02-29T00:00:00Z\"")),
        ("a fraction of a millisecond", play("0.5")),
        ("an instant before the year 1", play("-62135596800001")),
        ("an instant after the year 9999", play("253402300800000")),
        (
            "no key",
            text(r#"{"type":"play","time":0,"listener":1}"#.to_owned()),
        ),
        ("a null key", track("null")),
        ("an empty key", track("\"\"")),
        ("a key with a fraction", track("1.0")),
        ("an object as key", track("{}")),
        (
            "a key too long",
            track(&format!("\"{}\"", "x".repeat(1025))),
        ),
        (
            "a key missing for one counter of two",
            text(r#"{"type":"play","time":0,"track":"track-1"}"#.to_owned()),
        ),
        ("no amount", text(format!("{{{BUY}}}"))),
        ("an amount in a text", buy("\"5\"")),
        ("an amount with a fraction", buy("1.5")),
        ("an amount with an exponent", buy("1e3")),
        ("an amount too large", buy("9223372036854775808")),
        ("an amount too small", buy("-9223372036854775809")),
    ]
}

fn record(key: &str, value: String) -> Record {
    Record {
        key: key.as_bytes().to_vec(),
        value: Some(value.into_bytes()),
    }
}

/// Reads the lines of a file as records. Each is its own key, which spreads them over the partitions.
pub fn lines(file: &Path) -> Result<Vec<Record>> {
    let context = || format!("the events in {}", file.display());
    let reader = BufReader::new(File::open(file).with_context(context)?);
    let record = |line: std::io::Result<Vec<u8>>| {
        let line = line.with_context(context)?;
        Ok(Record {
            key: line.clone(),
            value: Some(line),
        })
    };
    reader
        .split(b'\n')
        .filter(|line| !matches!(line, Ok(line) if line.trim_ascii().is_empty()))
        .map(record)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(shape: Shape) -> Vec<Record> {
        Generator::new(shape).unwrap().take(500).collect()
    }

    #[test]
    fn equal_seeds_generate_equal_events() {
        let other = Shape {
            seed: 2,
            ..Shape::default()
        };
        assert_eq!(generate(Shape::default()), generate(Shape::default()));
        assert_ne!(generate(Shape::default()), generate(other));
    }

    #[test]
    fn some_tracks_are_far_more_frequent_than_others() {
        let first = generate(Shape::default())
            .iter()
            .filter(|record| record.key == b"track-1")
            .count();
        assert!((50..250).contains(&first), "{first} of 500");
    }
}

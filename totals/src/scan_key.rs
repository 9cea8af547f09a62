//! The order of counters and cells in a scan of the table, so that expected totals can be merge-joined with it.

use std::cmp::Ordering;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use stitch_common::cell::{Bucket, CellSlot, Counter, EventTime, Granularity};
use stitch_common::token::Token;

/// A counter and its token. Ordered as Cassandra orders partitions: by token, then by the
/// bytes of the partition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanKey {
    token: Token,
    counter: Counter,
}

impl ScanKey {
    pub fn of(counter: Counter) -> Self {
        Self {
            token: counter.token(),
            counter,
        }
    }

    pub const fn token(&self) -> Token {
        self.token
    }

    pub const fn counter(&self) -> &Counter {
        &self.counter
    }
}

impl Hash for ScanKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_i64(self.token.0);
    }
}

impl Ord for ScanKey {
    fn cmp(&self, other: &Self) -> Ordering {
        in_scan_order(self.token, &self.counter, other.token, &other.counter)
    }
}

impl PartialOrd for ScanKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares two counters and their tokens as Cassandra orders partitions. A composite key is stored as each component's
/// length in two bytes, then the component, so of two keys of one token the one with the shorter first part is first.
pub fn in_scan_order(
    token: Token,
    counter: &Counter,
    other_token: Token,
    other: &Counter,
) -> Ordering {
    fn key(counter: &Counter) -> (usize, &[u8], usize, &[u8]) {
        let (name, key) = (counter.name.0.as_bytes(), counter.key.0.as_bytes());
        (name.len(), name, key.len(), key)
    }
    token
        .cmp(&other_token)
        .then_with(|| key(counter).cmp(&key(other)))
}

/// Hashes a [`ScanKey`] by its token, which is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_i64(&mut self, token: i64) {
        // Tokens of one range share their upper bits, and hash maps look at the upper bits too.
        self.0 = token.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Builds [`TokenHasher`]s, the same in every run, so that a run can be repeated exactly.
pub type ByToken = BuildHasherDefault<TokenHasher>;

/// A [`CellSlot`] in four bytes, in the same order. Events are only in buckets that start at a full minute, hour or day of
/// the years 1 to 9999, and of minutes those of the years 1 to 7000; other slots get into the table only by hand, and have
/// no packed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackedSlot(u32);

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// The packed forms of one granularity: consecutive numbers, one for each unit of time.
struct Numbers {
    granularity: Granularity,
    unit_ms: i64,
    first: u32,
    count: u32,
}

/// The numbers of each granularity, in clustering order.
const NUMBERS: [Numbers; Granularity::EVERY.len()] = {
    let mut numbers = [const { Numbers::of(Granularity::All, 0) }; Granularity::EVERY.len()];
    let mut first = 0;
    let mut at = 0;
    while at < numbers.len() {
        numbers[at] = Numbers::of(Granularity::EVERY[at], first);
        // Fails to compile if there are more than 32 bits have room for.
        first += numbers[at].count;
        at += 1;
    }
    numbers
};

impl Numbers {
    const fn of(granularity: Granularity, first: u32) -> Self {
        let (unit_ms, last_ms) = match granularity {
            Granularity::All | Granularity::Day | Granularity::Month | Granularity::Year => {
                (DAY_MS, EventTime::MAX_MS)
            }
            Granularity::Hour => (60 * MINUTE_MS, EventTime::MAX_MS),
            Granularity::Quarter => (15 * MINUTE_MS, EventTime::MAX_MS),
            Granularity::Minute => (MINUTE_MS, EventTime::MAX_MS_OF_MINUTES),
        };
        let count = (last_ms - EventTime::MIN_MS) / unit_ms + 1;
        assert!(count <= u32::MAX as i64, "more than 32 bits have room for");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "just compared; a constant cannot use `try_from`"
        )]
        let count = count as u32;
        Self {
            granularity,
            unit_ms,
            first,
            count,
        }
    }
}

impl PackedSlot {
    /// Packs `slot`, if an event can be in it.
    pub fn pack(slot: CellSlot) -> Option<Self> {
        let numbers = &NUMBERS[slot.granularity as usize];
        let since = slot.bucket.0.checked_sub(EventTime::MIN_MS)?;
        if since % numbers.unit_ms != 0 {
            return None;
        }
        let unit = u32::try_from(since / numbers.unit_ms).ok()?;
        (unit < numbers.count).then(|| Self(numbers.first + unit))
    }

    /// The packed form.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The slot of this packed form, which comes from [`PackedSlot::bits`].
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub fn unpack(self) -> CellSlot {
        let [all, later @ ..] = &NUMBERS;
        let numbers = later.iter().rev().find(|numbers| numbers.first <= self.0);
        let numbers = numbers.unwrap_or(all);
        let units = i64::from(self.0 - numbers.first);
        CellSlot {
            granularity: numbers.granularity,
            bucket: Bucket(EventTime::MIN_MS + units * numbers.unit_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(granularity: usize, ms: i64) -> CellSlot {
        let granularity = Granularity::EVERY[granularity];
        CellSlot {
            granularity,
            bucket: granularity.bucket(EventTime::from_ms(ms).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn slots_of_events_survive_packing_and_keep_their_order(
            a in 0..7_usize, a_ms in EventTime::MIN_MS..=EventTime::MAX_MS_OF_MINUTES,
            b in 0..7_usize, b_ms in EventTime::MIN_MS..=EventTime::MAX_MS,
        ) {
            let b_ms = if b == 3 { b_ms.min(EventTime::MAX_MS_OF_MINUTES) } else { b_ms };
            let (a, b) = (slot(a, a_ms), slot(b, b_ms));
            let (packed_a, packed_b) = (PackedSlot::pack(a).unwrap(), PackedSlot::pack(b).unwrap());
            prop_assert_eq!(packed_a.unpack(), a);
            prop_assert_eq!(packed_a.cmp(&packed_b), a.cmp(&b));
        }
    }

    #[test]
    fn the_first_and_the_last_hour_survive_packing() {
        for ms in [EventTime::MIN_MS, EventTime::MAX_MS, -1, 0] {
            for granularity in 0..7 {
                let is_minute = Granularity::EVERY[granularity] == Granularity::Minute;
                let last = if is_minute {
                    EventTime::MAX_MS_OF_MINUTES
                } else {
                    ms
                };
                let ms = ms.min(last);
                let slot = slot(granularity, ms);
                assert_eq!(PackedSlot::pack(slot).map(PackedSlot::unpack), Some(slot));
            }
        }
    }

    #[test]
    fn a_slot_that_no_event_can_be_in_is_not_packed() {
        for ms in [
            1,
            i64::MIN,
            i64::MAX,
            EventTime::MAX_MS + 1,
            EventTime::MIN_MS - DAY_MS,
        ] {
            let slot = CellSlot {
                granularity: Granularity::Hour,
                bucket: Bucket(ms),
            };
            assert_eq!(PackedSlot::pack(slot), None, "{ms}");
        }
        let after = CellSlot {
            granularity: Granularity::Minute,
            bucket: Bucket(EventTime::MAX_MS_OF_MINUTES + 1),
        };
        assert_eq!(PackedSlot::pack(after), None, "no event is counted there");
    }

    #[test]
    fn keys_of_one_token_are_ordered_by_their_bytes_in_the_table() {
        let token = Token(7);
        let order = |a: (&str, &str), b: (&str, &str)| {
            in_scan_order(
                token,
                &Counter::new(a.0, a.1),
                token,
                &Counter::new(b.0, b.1),
            )
        };
        assert_eq!(
            order(("a", "z"), ("a", "aa")),
            Ordering::Less,
            "the shorter key is first"
        );
        assert_eq!(
            order(("b", "a"), ("aa", "a")),
            Ordering::Less,
            "the shorter name is first"
        );
        assert_eq!(order(("a", "b"), ("a", "a")), Ordering::Greater);
        let one = Counter::new("a", "a");
        assert_eq!(
            in_scan_order(Token(-1), &one, Token(1), &one),
            Ordering::Less
        );
    }
}

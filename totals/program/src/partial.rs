//! The format of partial sums: what the records of one segment add up to, as a Parquet file for another engine to group.
//!
//! Every column is a number or bytes, so that no collation, calendar or type of text can get between. A sum travels in two
//! halves, `lo = sum & 0xffffffff` and `hi = sum >> 32`: no engine's 64-bit sum of fewer than 2^31 of them can overflow,
//! and `(Σhi << 32) + Σlo` is their sum modulo 2^64. `n` is how many partial sums a row is made of: 1 here, and what is
//! grouped has the number of rows that went in, whatever their sums.

pub mod writer;
pub mod reader;

use std::sync::Arc;

use parquet::basic::{Repetition, Type as Physical};
use parquet::data_type::ByteArray;
use parquet::schema::types::{Type, TypePtr};
use stitch_common::cell::{Amount, Bucket, CellSlot, Granularity};

use stitch_totals::scan_key::PackedSlot;

/// The columns, in the order of the file.
const COLUMNS: [(&str, Physical); 8] = [
    ("token", Physical::INT64),
    ("counter", Physical::BYTE_ARRAY),
    ("key", Physical::BYTE_ARRAY),
    ("granularity", Physical::INT32),
    ("bucket_ms", Physical::INT64),
    ("lo", Physical::INT64),
    ("hi", Physical::INT64),
    ("n", Physical::INT64),
];

/// The granularities by their numbers in these files: the order of the scan, which is that of their names.
const GRANULARITIES: [Granularity; Granularity::EVERY.len()] = Granularity::EVERY;

/// The rows of a row group, column by column.
#[derive(Default)]
struct Rows {
    tokens: Vec<i64>,
    counters: Vec<ByteArray>,
    keys: Vec<ByteArray>,
    granularities: Vec<i32>,
    buckets: Vec<i64>,
    los: Vec<i64>,
    his: Vec<i64>,
    partials: Vec<i64>,
}

fn schema() -> TypePtr {
    let column = |(name, physical): &(&str, Physical)| {
        let column = Type::primitive_type_builder(name, *physical);
        let column = column.with_repetition(Repetition::REQUIRED).build();
        Arc::new(column.expect("these types need no more"))
    };
    let fields = COLUMNS.iter().map(column).collect();
    let schema = Type::group_type_builder("partial_sum").with_fields(fields);
    Arc::new(schema.build().expect("the schema has columns"))
}

/// The halves of a sum.
const fn halves(sum: Amount) -> (i64, i64) {
    (sum.0 & 0xffff_ffff, sum.0 >> 32)
}

/// The sum, modulo 2^64, of what these sums of halves were made of.
const fn whole(lo: i64, hi: i64) -> Amount {
    Amount((hi << 32).wrapping_add(lo))
}

/// The number of the granularity, and the bucket.
fn numbers(slot: PackedSlot) -> (i32, i64) {
    let slot = slot.unpack();
    let is_it = |granularity: &Granularity| *granularity == slot.granularity;
    let number = GRANULARITIES.iter().position(is_it);
    let number = number.expect("every granularity is one of them");
    let number = i32::try_from(number).expect("there are five");
    (number, slot.bucket.0)
}

/// The slot of these numbers, if an event can be in it.
fn slot(granularity: i32, bucket_ms: i64) -> Option<PackedSlot> {
    let number = usize::try_from(granularity).ok()?;
    PackedSlot::pack(CellSlot {
        granularity: *GRANULARITIES.get(number)?,
        bucket: Bucket(bucket_ms),
    })
}

#[cfg(test)]
mod tests;

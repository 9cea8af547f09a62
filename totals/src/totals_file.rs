//! The format of the files of totals: Parquet, sorted as the table is scanned, readable by any tool.
//!
//! A file has whole ranges, and ends at the first range that begins behind 64 MiB: a small namespace has one file, a large
//! one some for each core, and none has thousands of little ones. Row groups are small and have statistics, so that one
//! key is looked up by reading the end of one file and one row group. Each has a checksum of its bytes as they are stored.

pub mod writer;
pub mod reader;
mod row_group;

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{PrimitiveTypeBuilder, Type, TypePtr};
use serde::{Deserialize, Serialize};
use stitch_common::range::RangeId;

use crate::manifest::TotalsId;

/// The columns, in the order of the file.
const COLUMNS: [&str; 6] = ["token", "counter", "key", "granularity", "bucket", "value"];

/// The key of the footer in the file's metadata.
const FOOTER: &str = "stitch.totals";

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Footer {
    format: u32,
    id: TotalsId,
    first_range: RangeId,
    /// The CRC-32 of each row group.
    checksums: Vec<u32>,
}

fn column(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
) -> PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(logical)
}

/// The schema.
fn schema() -> TypePtr {
    let [token, counter, key, granularity, bucket, value] = COLUMNS;
    let millis = LogicalType::timestamp(true, TimeUnit::MILLIS);
    let text = Some(LogicalType::String);
    let fields = [
        column(token, Physical::INT64, None),
        column(counter, Physical::BYTE_ARRAY, text.clone()),
        column(key, Physical::BYTE_ARRAY, text.clone()),
        column(granularity, Physical::BYTE_ARRAY, text),
        // The older form of the same, for tools that know no other.
        column(bucket, Physical::INT64, Some(millis))
            .with_converted_type(ConvertedType::TIMESTAMP_MILLIS),
        column(value, Physical::INT64, None),
    ];
    let fields = fields
        .into_iter()
        .map(|field| Arc::new(field.build().expect("the types fit their columns")))
        .collect();
    let schema = Type::group_type_builder("cell").with_fields(fields);
    Arc::new(schema.build().expect("the schema has columns"))
}

#[cfg(test)]
mod tests;

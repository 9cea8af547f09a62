//! The format of a segment: one Parquet file, whole, of the records in `[from, to)`.
//!
//! Columns `offset`, `timestamp`, `key` and `value`, compressed by zstd, in the order of offsets. [`footer`] is what the
//! file says of itself; [`writer`] makes it; [`row_group`] reads a part of it. Row groups are small, so that writing and
//! reading one costs little memory, and each has a checksum of its bytes as they are stored, as the [`metadata`] has: what
//! is damaged is known before a decoder sees it.

pub mod footer;
pub(crate) mod metadata;
pub mod writer;
pub mod row_group;

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{Type, TypePtr};

/// The columns, in the order of the file.
pub(crate) const COLUMNS: [&str; 4] = ["offset", "timestamp", "key", "value"];

/// The schema: readable by any tool.
pub(crate) fn schema() -> TypePtr {
    let [offset, timestamp, key, value] = COLUMNS;
    let millis = LogicalType::timestamp(true, TimeUnit::MILLIS);
    let fields = vec![
        column(offset, Physical::INT64, Repetition::REQUIRED, None),
        column(
            timestamp,
            Physical::INT64,
            Repetition::OPTIONAL,
            Some(millis),
        ),
        column(key, Physical::BYTE_ARRAY, Repetition::OPTIONAL, None),
        column(value, Physical::BYTE_ARRAY, Repetition::OPTIONAL, None),
    ];
    let schema = Type::group_type_builder("record").with_fields(fields);
    Arc::new(schema.build().expect("the schema has columns"))
}

fn column(
    name: &str,
    physical: Physical,
    repetition: Repetition,
    logical: Option<LogicalType>,
) -> TypePtr {
    let column = Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    Arc::new(column.build().expect("the types fit their columns"))
}

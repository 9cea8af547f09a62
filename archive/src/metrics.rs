//! Every metric of the archiver, and nothing else: names, units, labels. Described in `docs/operations/metrics.md`.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use stitch_common::offset::{Offset, Partition};

use crate::chain::Segment;

const RECORDS: &str = "stitch_archived_records_total";
const BYTES: &str = "stitch_archived_bytes_total";
const SEGMENTS: &str = "stitch_archived_segments_total";
const OVERTAKEN: &str = "stitch_archive_overtaken_total";
const PUT_ERRORS: &str = "stitch_archive_put_errors_total";
const BUFFERED: &str = "stitch_archive_buffered_bytes";
const STOPPED: &str = "stitch_archive_stopped_partitions";
const COMPLETE: &str = "stitch_archive_complete_offset";
const BEHIND: &str = "stitch_archive_behind_records";
const BEHIND_SECONDS: &str = "stitch_archive_behind_seconds";
const MARGIN: &str = "stitch_archive_margin_records";

/// Counts a segment that this process has put.
pub(crate) fn archived(segment: &Segment) {
    counter!(RECORDS).increment(segment.rows);
    counter!(BYTES).increment(segment.bytes);
    counter!(SEGMENTS).increment(1);
}

/// Counts a segment that another archiver was faster to put.
pub(crate) fn overtaken() {
    counter!(OVERTAKEN).increment(1);
}

/// Counts an attempt to put a segment that failed.
pub(crate) fn put_failed() {
    counter!(PUT_ERRORS).increment(1);
}

/// Shows the records that are read and not archived, and the partitions that cannot be read.
pub(crate) fn show(buffered_bytes: usize, stopped_partitions: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    set(BUFFERED, buffered_bytes);
    set(STOPPED, stopped_partitions);
}

/// The distance of a partition's archive from the begin and the end of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    pub(crate) complete_to: Offset,
    /// Records up to the log's end, at most.
    pub(crate) behind: i64,
    /// How long ago the latest archived record was written, if there is one and the archive is behind; else 0.
    pub(crate) behind_ms: i64,
    /// Positions from the log's begin to the archive's end: negative is a gap.
    pub(crate) margin: i64,
}

/// Shows the distance of a partition.
pub(crate) fn distance(partition: Partition, distance: Distance) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let set = |name: &'static str, value: i64| {
        gauge!(name, "partition" => partition.to_string()).set(value as f64);
    };
    set(COMPLETE, distance.complete_to.0);
    set(BEHIND, distance.behind);
    set(BEHIND_SECONDS, distance.behind_ms / 1000);
    set(MARGIN, distance.margin);
}

/// Describes every metric, so that zeros show.
pub fn register() {
    describe_counter!(RECORDS, "records that this process has archived");
    describe_counter!(BYTES, "bytes of segments that this process has put");
    describe_counter!(SEGMENTS, "segments that this process has put");
    describe_counter!(
        OVERTAKEN,
        "segments that another archiver was faster to put"
    );
    describe_counter!(PUT_ERRORS, "attempts to put a segment that failed");
    describe_gauge!(BUFFERED, "bytes of records that are read and not archived");
    describe_gauge!(STOPPED, "partitions that cannot be read on");
    describe_gauge!(
        COMPLETE,
        "the archive of the partition is complete up to this offset"
    );
    describe_gauge!(
        BEHIND,
        "records of the partition that are not archived, at most"
    );
    describe_gauge!(
        BEHIND_SECONDS,
        "age of the latest archived record of the partition, while it is behind"
    );
    describe_gauge!(
        MARGIN,
        "offsets from the begin of the log to the end of the archive; negative: records are lost"
    );
    for name in [RECORDS, BYTES, SEGMENTS, OVERTAKEN, PUT_ERRORS] {
        counter!(name).absolute(0);
    }
    show(0, 0);
}

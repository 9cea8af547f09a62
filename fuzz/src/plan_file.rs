//! The plan file, which anyone may edit between plan and run.

use std::io::Cursor;

use stitch_restorator::plan::file::PlanFile;

/// Bytes are a plan, or an error with a text.
pub(crate) fn bytes(bytes: &[u8]) {
    if let Err(error) = PlanFile::read(Cursor::new(bytes)) {
        assert!(!error.to_string().is_empty());
    }
}

/// The same with a valid checksum, as a careful editor would produce.
pub(crate) fn body(body: &[u8]) {
    let checksum = format!("{:08x}", crc32fast::hash(body));
    let mut bytes = format!("{{\"stitch_plan\":2,\"checksum\":\"{checksum}\"}}\n").into_bytes();
    bytes.extend_from_slice(body);
    let Ok(mut file) = PlanFile::read(Cursor::new(bytes)) else {
        return;
    };
    let (lines, cells) = (body.split(|byte| *byte == b'\n').count(), file.cells());
    assert!(
        usize::try_from(cells).is_ok_and(|cells| cells < lines),
        "no more cells than lines"
    );
    let plan = file.plan();
    let ranges = plan.record.definitions.range_bits.count();
    assert!(plan.scope.ranges().all(|range| range.0 < ranges));
    let read_again = file.each(|cell, drift| {
        let corrected = drift.current.plus(drift.correction());
        assert_eq!(corrected, drift.expected, "{cell} {:?}", drift.direction());
    });
    assert_eq!(read_again, Ok(()));
}

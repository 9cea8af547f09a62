//! The plan file, which anyone may edit between plan and run.

use stitch_restorator::plan::file::Plan;

/// Bytes are a plan, or an error with a text.
pub(crate) fn bytes(bytes: &[u8]) {
    if let Err(error) = Plan::decode(bytes) {
        assert!(!error.to_string().is_empty());
    }
}

/// The same with a valid checksum, as a careful editor would produce.
pub(crate) fn body(body: &[u8]) {
    let checksum = format!("{:08x}", crc32fast::hash(body));
    let mut bytes = format!("{{\"stitch_plan\":2,\"checksum\":\"{checksum}\"}}\n").into_bytes();
    bytes.extend_from_slice(body);
    let Ok(plan) = Plan::decode(&bytes) else {
        return;
    };
    let lines = body.split(|byte| *byte == b'\n').count();
    assert!(plan.wrong.len() < lines, "no more cells than lines");
    let ranges = plan.record.definitions.range_bits.count();
    assert!(plan.scope.ranges().all(|range| range.0 < ranges));
    for (cell, drift) in &plan.wrong {
        let corrected = drift.current.plus(drift.correction());
        assert_eq!(corrected, drift.expected, "{cell} {:?}", drift.direction());
    }
}

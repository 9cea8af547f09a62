//! Named points between the steps of a restoration, at which a test can kill the process as `kill -9` would. They exist
//! only with the feature `failpoints`. Then `FAILPOINTS=r5-read=return` kills at that point; the other actions of the
//! crate `fail` (`pause`, `sleep(1000)`, …) work as documented there.

/// The point that is passed only where memory is short: the cuts have moved up.
pub const CUT_MOVED: &str = "r1-cut-moved";

/// Every other point, in the order in which a restoration passes them.
pub const POINTS: [&str; 14] = [
    "r1-begun",
    "r1-planned",
    "r2-closed-in",
    "r2-queued",
    "r2-asked",
    "r2-granted",
    "r3-cut",
    "r4-touched",
    "r5-read",
    "r6-journaled",
    "r6-applied",
    "r7-verified",
    "r8-released",
    "r8-recorded",
];

/// Activates the points in `FAILPOINTS` while the returned guard lives.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn setup() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Passes a point.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(point: &'static str) {
    let is_listed = point == CUT_MOVED || POINTS.contains(&point);
    debug_assert!(is_listed, "{point} is not listed");
    fail::fail_point!(point, |_| die());
}

/// Passes a point: does nothing in this build.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn pass(_point: &'static str) {}

/// Ends the process at once, without cleaning up.
#[cfg(feature = "failpoints")]
fn die() {
    let process = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(process, rustix::process::Signal::KILL) {
        tracing::error!(%error, "the process cannot kill itself");
    }
    loop {
        std::thread::park();
    }
}

//! Bad input: no bytes may make a parser that meets the outside panic or hang, and none that
//! it takes may mean anything else than what is in it.
//!
//! Each target takes any bytes. The ordinary tests give it the inputs that are kept in `corpus/`, among them every one
//! that ever broke something, and changed ones by chance.

use stitch_common::ports::Fingerprint;
use stitch_protocol::membership::MemberRecord;
use stitch_protocol::restoration::{LockHolder, RestorationRecord};

mod events;
mod configuration;
mod plan_file;
mod keeper;
mod names;

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tests;

/// A parser and what it must keep to, whatever it is given.
pub type Target = fn(&[u8]);

/// Every target and its name, which is its folder in `corpus/`, too.
pub const TARGETS: &[(&str, Target)] = &[
    ("event", events::record),
    ("event-attributes", events::attributes),
    ("configuration", configuration::text),
    ("configuration-line", configuration::line),
    ("environment", configuration::variable),
    ("plan-file", plan_file::bytes),
    ("plan-file-body", plan_file::body),
    ("definition", keeper::definition),
    ("member", keeper::payload::<MemberRecord>),
    ("first-record", keeper::payload::<Fingerprint>),
    ("restoration-lock", keeper::payload::<LockHolder>),
    ("restoration", keeper::payload::<RestorationRecord>),
    ("checkpoint", keeper::checkpoint),
    ("queue", names::queue),
    ("member-name", names::member),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.map(|(_, target)| *target)
}

//! Fuzzing: no bytes may make a parser of outside input panic or hang, and input that a parser accepts must mean what it
//! says.
//!
//! [`TARGETS`] lists the parsers. A target is a function of any bytes, which asserts what must hold for them:
//!
//! - `events`: records of the topic; `configuration`: files, lines and environment variables; `access`: files of
//!   tokens, and signatures of links; `requests`: requests to the API; `plan_file`: plans, and `nodes`: the data of
//!   ZooKeeper's nodes and the manifests of totals; `names`: the names of nodes and members.
//! - `edges` (tests only): arithmetic at its edges, by properties.
//! - `tests`: each target with its inputs in `corpus/`, among them every one that ever broke something, and with mutated
//!   ones. `deploy/fuzz` builds `main` with libFuzzer around one target.

use stitch_batch::record::BatchRecord;
use stitch_common::ports::Fingerprint;
use stitch_control::audit_record::AuditRecord;
use stitch_control::control_record::ControlRecord;
use stitch_control::restoration_record::RestorationRecord;
use stitch_protocol::backfill::BackfillRecord;
use stitch_protocol::doubt::DoubtRecord;
use stitch_protocol::known_nodes::KnownNodeRecord;
use stitch_protocol::membership::MemberRecord;
use stitch_protocol::origin_node::Origin;
use stitch_protocol::restoration::LockHolder;
use stitch_protocol::suspension::SuspensionRecord;

mod events;
mod configuration;
mod access;
mod requests;
mod plan_file;
mod nodes;
mod names;

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tests;

/// A parser, and the assertions that hold for any input.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also its folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("event", events::record),
    ("event-attributes", events::attributes),
    ("configuration", configuration::text),
    ("configuration-line", configuration::line),
    ("environment", configuration::variable),
    ("token-file", access::file),
    ("signed-link", access::link),
    ("query-string", requests::query_string),
    ("query", requests::query),
    ("query-body", requests::query_body),
    ("window", requests::window),
    ("command", requests::command),
    ("plan-file", plan_file::bytes),
    ("plan-file-body", plan_file::body),
    ("definition", nodes::definition),
    ("member", nodes::payload::<MemberRecord>),
    ("first-record", nodes::payload::<Fingerprint>),
    ("origin", nodes::payload::<Origin>),
    ("restoration-lock", nodes::payload::<LockHolder>),
    ("doubt", nodes::payload::<DoubtRecord>),
    ("backfill", nodes::payload::<BackfillRecord>),
    ("known-node", nodes::payload::<KnownNodeRecord>),
    ("suspension", nodes::payload::<SuspensionRecord>),
    ("restoration", nodes::payload::<RestorationRecord>),
    ("control", nodes::payload::<ControlRecord>),
    ("audit", nodes::payload::<AuditRecord>),
    ("batch", nodes::payload::<BatchRecord>),
    ("manifest", nodes::manifest),
    ("checkpoint", nodes::checkpoint),
    ("queue", names::queue),
    ("member-name", names::member),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    let entry = TARGETS.iter().find(|(target, _)| *target == name);
    entry.map(|(_, target)| *target)
}

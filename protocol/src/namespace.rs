//! A namespace: one topic, one table, one ZooKeeper root, one set of counter definitions. `init` makes it; every other
//! program only [`validate`]s with it, or refuses to start: counting by other definitions, from another log or into
//! another table would spoil counts that are right.

mod validate;
mod identity;

pub use identity::{ObservedNamespace, differences};
pub use validate::{
    Error, Mismatch, ValidatedNamespace, definitions_differ, identity_differs, remember_log,
    validate,
};

//! A namespace: one topic, one table, one ZooKeeper root, one set of counter definitions. `init` makes it; every other
//! program only [`validate()`]s its configuration against it, or refuses to start: counting by other definitions, from
//! another log or into another table would spoil counts that are right.

mod identity;
mod validate;
mod join;

pub use identity::{ObservedNamespace, differences};
pub use join::join;
pub use validate::{
    Error, Mismatch, ValidatedNamespace, consistency_differs, definitions_differ, identity_differs,
    remember_log, validate,
};

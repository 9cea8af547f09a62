//! A namespace: one topic, one table, one ZooKeeper root, one set of counter definitions. `init` makes it; every other
//! program only [`agree`]s with it, or refuses to start: counting by other definitions, from another log or into
//! another table would spoil counts that are right.

mod agreement;
mod identity;

pub use agreement::{
    Agreement, Difference, Error, agree, definitions_differ, identity_differs, remember_log,
};
pub use identity::{Found, differences};

//! Checks the tree: its layout, the dependencies between crates, the licences and sources of packages, and whether the
//! documents agree with the code.

mod advisories;
mod alerts;
mod dependencies;
mod documents;
mod crates;
mod layout;
mod names;
mod references;
mod tree;
mod versions;

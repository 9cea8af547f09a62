//! What a test can check of the tree: the rules of `docs/architecture.md` about where things are, and of the texts
//! that people rely on.

mod dependencies;
mod documents;
mod crates;
mod layout;
mod tree;

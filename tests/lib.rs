//! Tests that need more than one crate, a folder for each binary: `tidy` for the tree's own rules, `system` for real
//! processes on real servers.

//! Tests that need more than one crate, a folder for each binary: `tidy` for the tree's own rules, `system` for real
//! processes on real servers, `cluster` for three nodes of which one stands still or is gone.

pub mod scene;

//! Tests that need more than one crate, a folder for each binary: `tidy` for the rules of the tree, `system` for real
//! processes on real servers, `cluster` for three nodes of which one is frozen or down, `pages` for a real browser.

pub mod scene;

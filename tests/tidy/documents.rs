//! The texts that people rely on agree with the code.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::tree::{none, read, tracked};

#[test]
fn the_readme_names_the_two_commands() -> Result<()> {
    let readme = read("README.md")?;
    let found = ["deploy/demo", "deploy/test"]
        .iter()
        .filter(|command| !readme.contains(**command))
        .map(|command| format!("README.md does not mention {command}"))
        .collect();
    none(found, "the README shows how to try and how to test");
    Ok(())
}

#[test]
fn decisions_are_numbered_without_gaps() -> Result<()> {
    let files = tracked()?;
    let names: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("docs/decisions/"))
        .collect();
    let wrong = |(index, name): (usize, &&str)| {
        let number = format!("{:04}-", index + 1);
        (!name.starts_with(&number)).then(|| format!("{name} should start with {number}"))
    };
    none(
        names.iter().enumerate().filter_map(wrong).collect(),
        "docs/decisions/NNNN-title.md, from 0001",
    );
    Ok(())
}

//! The layout of the tree: lengths and names of files, executable commands, and nothing private in any file.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use crate::tree::{TrackedFile, none, read, root, tracked};

const LINES_MAX: usize = 500;

#[test]
fn files_of_code_have_at_most_500_lines() -> Result<()> {
    let long = |file: &TrackedFile| {
        let lines = file.text.lines().count();
        let code = file.is_rust() || file.is_script();
        (code && lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.path))
    };
    let found = tracked()?.iter().filter_map(long).collect();
    none(found, "at most 500 lines: a file is one concept");
    Ok(())
}

#[test]
fn no_module_is_named_mod_rs() -> Result<()> {
    let found = tracked()?
        .into_iter()
        .map(|file| file.path)
        .filter(|path| path.ends_with("mod.rs"))
        .collect();
    none(found, "foo.rs and foo/, never mod.rs");
    Ok(())
}

/// Lines with a path or a package mirror of one machine.
fn private(file: &TrackedFile) -> Vec<String> {
    // Assembled, so that this file does not contain them.
    let folders = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let hosts = ["artifactory", "nexus.", "jfrog", "codeload.", "mirror."];
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let shows_folder = folders.iter().any(|folder| {
            line.match_indices(folder.as_str()).any(|(at, _)| {
                // As part of a longer path, as in target/home/x, it is another folder.
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".-_}".contains(c))
            })
        });
        let shows_host = line
            .split_once("://")
            // A reserved name.
            .filter(|(_, rest)| !rest.contains(".example"))
            .is_some_and(|(_, rest)| hosts.iter().any(|host| rest.contains(host)));
        if shows_folder || shows_host {
            found.push(format!("{}:{}: {line}", file.path, number + 1));
        }
    }
    found
}

#[test]
fn no_file_names_a_path_or_mirror_of_one_machine() -> Result<()> {
    let found = tracked()?
        .iter()
        .filter(|file| file.path != "tests/tidy/layout.rs")
        .flat_map(private)
        .collect();
    none(found, "paths and hosts of one machine work on no other");
    Ok(())
}

#[test]
fn paths_and_mirrors_of_one_machine_are_found() {
    let file = |text: &str| TrackedFile {
        path: "a".to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(private(&file("cd /home/ann/stitch")).len(), 1);
    assert_eq!(
        private(&file("url = https://artifactory.ann.net/x")).len(),
        1
    );
    assert!(private(&file("\"$folder/work/x\" target/home/x")).is_empty());
}

/// The commands that a text names: words like `deploy/test` and `.ci/run`, without an extension.
fn commands_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "./-".contains(c)))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.starts_with("deploy/") || word.starts_with(".ci/"))
        .filter(|word| !word.ends_with('/') && !word[1..].contains('.'))
        .collect()
}

#[test]
fn every_command_that_a_newcomer_reads_of_exists_and_is_executable() -> Result<()> {
    let mut found = Vec::new();
    for document in ["README.md", "CONTRIBUTING.md", "deploy/README.md"] {
        let text = read(document)?;
        let commands = commands_in(&text);
        if commands.is_empty() {
            found.push(format!("{document} names no command"));
        }
        for command in commands {
            match root()?.join(command).metadata() {
                Ok(file) if file.is_dir() || file.permissions().mode() & 0o111 != 0 => {}
                Ok(_) => found.push(format!("{document}: {command} is not executable")),
                Err(error) => found.push(format!("{document}: {command}: {error}")),
            }
        }
    }
    none(found, "commands work from a fresh clone");
    Ok(())
}

#[test]
fn commands_are_found_in_a_text() {
    let text = "`deploy/test --help`, deploy/demo. See deploy/stitch.toml, (.ci/run) and deploy/.";
    let commands = BTreeSet::from([".ci/run", "deploy/demo", "deploy/test"]);
    assert_eq!(commands_in(text), commands);
}

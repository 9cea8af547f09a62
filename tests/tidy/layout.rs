//! Where files are, how long they may be, what must not stand in them.

use anyhow::Result;

use crate::tree::{TrackedFile, none, read, root, tracked};

const LINES_MAX: usize = 500;

#[test]
fn no_file_of_code_is_longer_than_one_concept_needs() -> Result<()> {
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
fn modules_are_named_by_their_file() -> Result<()> {
    let found = tracked()?
        .into_iter()
        .map(|file| file.path)
        .filter(|path| path.ends_with("mod.rs"))
        .collect();
    none(found, "foo.rs and foo/, never mod.rs");
    Ok(())
}

/// What names the machine of one person, or where its packages come from.
fn private(file: &TrackedFile) -> Vec<String> {
    // Put together here, so that this file does not contain them.
    let folders = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let hosts = ["artifactory", "nexus.", "jfrog", "codeload.", "mirror."];
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let shows_folder = folders.iter().any(|folder| {
            line.match_indices(folder.as_str()).any(|(at, _)| {
                // Part of a longer path, as in target/home/x, is another folder.
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".-_}".contains(c))
            })
        });
        let shows_host = line
            .split_once("://")
            // Names that end like this are reserved: they are nobody's.
            .filter(|(_, rest)| !rest.contains(".example"))
            .is_some_and(|(_, rest)| hosts.iter().any(|host| rest.contains(host)));
        if shows_folder || shows_host {
            found.push(format!("{}:{}: {line}", file.path, number + 1));
        }
    }
    found
}

#[test]
fn nothing_names_one_persons_machine() -> Result<()> {
    let found = tracked()?
        .iter()
        .filter(|file| file.path != "tests/tidy/layout.rs")
        .flat_map(private)
        .collect();
    none(found, "paths and hosts of one machine work on no other");
    Ok(())
}

#[test]
fn a_path_of_one_machine_is_found() {
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

#[test]
fn the_two_commands_can_be_run() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    for command in ["deploy/demo", "deploy/test", "deploy/local", ".ci/run"] {
        let file = root()?.join(command);
        match file.metadata() {
            Ok(metadata) if metadata.permissions().mode() & 0o111 != 0 => {}
            Ok(_) => found.push(format!("{command} is not executable")),
            Err(error) => found.push(format!("{command}: {error}")),
        }
    }
    none(found, "the README's commands work from a fresh clone");
    Ok(())
}

#[test]
fn continuous_integration_runs_what_people_run() -> Result<()> {
    let script = read(".ci/run")?;
    let commands: Vec<&str> = script
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(commands, ["exec \"$(dirname \"$0\")/../deploy/test\""]);
    Ok(())
}

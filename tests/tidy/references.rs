//! What the documents name exists: files, tests, functions, settings.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::tree::{TrackedFile, none, read, tracked};

/// A document that says how it is today. Decisions and the changelog say how it was.
fn is_of_today(path: &str) -> bool {
    let is_history = path.starts_with("docs/decisions/") || path == "CHANGELOG.md";
    path.ends_with(".md") && !is_history
}

/// It has names that must not come back. Its files must exist.
const GLOSSARY: &str = "docs/glossary.md";

/// Every word between backticks on one line, with the line's number.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(line, text)| {
        let quoted = text.split('`').skip(1).step_by(2);
        quoted.map(move |word| (line + 1, word))
    })
}

/// A file of Rust, by its path or by the end of it.
fn is_rust_path(word: &str) -> bool {
    // What only shows how a file is named has no folder, and the project has no such file.
    let is_example = word.starts_with("foo") || word == "mod.rs";
    let letters = |c: char| c.is_alphanumeric() || "/_-.".contains(c);
    !is_example && word.ends_with(".rs") && word.chars().all(letters)
}

/// The name of a test, or another name of several words.
fn is_long_name(word: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    word.chars().all(letters) && word.split('_').filter(|part| !part.is_empty()).count() >= 4
}

fn missing(files: &[TrackedFile]) -> Vec<String> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let names: BTreeSet<&str> = files
        .iter()
        .filter(|file| !file.path.ends_with(".md"))
        .flat_map(|file| file.text.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| is_long_name(word))
        .collect();
    let has_path = |word: &str| {
        let end = format!("/{word}");
        paths.contains(word) || paths.iter().any(|path| path.ends_with(&end))
    };
    let mut found = Vec::new();
    for file in files.iter().filter(|file| is_of_today(&file.path)) {
        for (line, word) in quoted(&file.text) {
            let is_gone = (is_rust_path(word) && !has_path(word))
                || (file.path != GLOSSARY && is_long_name(word) && !names.contains(word));
            if is_gone {
                found.push(format!("{}:{line}: {word}", file.path));
            }
        }
    }
    found
}

#[test]
fn documents_name_files_and_tests_that_exist() -> Result<()> {
    none(missing(&tracked()?), "a document names what is not there");
    Ok(())
}

/// The sections of the runbook that code names: `docs/operations/runbook.md, \"Section\"`.
fn sections_named_by(file: &TrackedFile) -> Vec<String> {
    // A text that is broken over lines is one text.
    let text = file
        .text
        .replace('\\', "")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let named = text.split("docs/operations/runbook.md, \"").skip(1);
    named
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect()
}

#[test]
fn errors_name_sections_of_the_runbook_that_exist() -> Result<()> {
    let runbook = read("docs/operations/runbook.md")?;
    let headings: BTreeSet<&str> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches(['#', ' ']))
        .collect();
    let mut named = 0;
    let mut found = Vec::new();
    for file in tracked()?
        .iter()
        .filter(|file| file.is_rust() && file.path.contains("/src/"))
    {
        for section in sections_named_by(file) {
            named += 1;
            if !headings.contains(section.as_str()) {
                found.push(format!("{}: {section}", file.path));
            }
        }
    }
    anyhow::ensure!(named > 5, "errors name {named} sections of the runbook");
    none(
        found,
        "an error's help names a section that the runbook does not have",
    );
    Ok(())
}

#[test]
fn a_test_and_a_file_that_are_gone_are_found() {
    let file = |path: &str, text: &str| TrackedFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file("a/src/locks.rs", "fn a_lock_is_released_once() {}"),
        file(
            "docs/b.md",
            "`a_lock_is_released_once` `locks.rs`\n`a_lock_is_released_twice` `a/src/lock.rs`",
        ),
        file("docs/decisions/0001-c.md", "`a_lock_is_released_thrice`"),
    ];
    assert_eq!(
        missing(&files),
        [
            "docs/b.md:2: a_lock_is_released_twice",
            "docs/b.md:2: a/src/lock.rs"
        ]
    );
}

#[test]
fn every_payload_in_zookeeper_is_fuzzed() -> Result<()> {
    let targets = read("fuzz/src/lib.rs")? + &read("fuzz/src/nodes.rs")?;
    let files = tracked()?;
    let payloads = files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.strip_prefix("impl Payload for ")?.strip_suffix(" {"));
    let payloads: Vec<&str> = payloads.collect();
    let fuzzed = targets.matches("payload::<").count();
    anyhow::ensure!(fuzzed == payloads.len(), "{fuzzed} targets: {payloads:?}");
    let found = payloads
        .iter()
        .filter(|name| !targets.contains(&format!("payload::<{name}>")))
        .map(|name| format!("{name} has no target in fuzz/src/lib.rs"))
        .collect();
    none(
        found,
        "what any client of ZooKeeper may write is tried as any bytes",
    );
    Ok(())
}

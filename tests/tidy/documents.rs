//! The texts that people rely on agree with the code.

use std::collections::BTreeSet;

use anyhow::Result;
use stitch_common::invariant::Invariant;

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
        .filter(|name| *name != "template.md")
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

#[test]
fn every_document_is_in_the_list_of_documents() -> Result<()> {
    let list = read("docs/README.md")?;
    let found = tracked()?
        .iter()
        .filter_map(|file| file.path.strip_prefix("docs/"))
        .filter(|path| path.ends_with(".md") && *path != "README.md")
        .filter(|path| !list.contains(&format!("({path})")))
        .map(|path| format!("docs/README.md does not list {path}"))
        .collect();
    none(found, "a document is found by the list of all");
    Ok(())
}

#[test]
fn every_problem_of_the_api_is_in_the_list_of_errors() -> Result<()> {
    let code = read("api/request/src/problem.rs")?;
    let list = read("docs/operations/errors.md")?;
    let names = code.split_once("pub const fn name(self)");
    let names = names.and_then(|(_, rest)| rest.split_once("pub const fn"));
    let names: Vec<&str> = names.map_or_else(Vec::new, |(names, _)| {
        names.split('"').skip(1).step_by(2).collect()
    });
    anyhow::ensure!(names.len() > 10, "problem.rs names problems: {names:?}");
    let missing = |name: &&&str| !list.contains(&format!("`/problems/{name}`"));
    let found = names.iter().filter(missing);
    let found = found.map(|name| format!("docs/operations/errors.md has no {name}"));
    none(found.collect(), "a problem is found by its type");
    Ok(())
}

/// Names of metrics in a text, each between two delimiters.
fn metrics_in(text: &str, delimiter: char) -> BTreeSet<String> {
    let name = |word: &&str| {
        word.starts_with("stitch_")
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    text.split(delimiter)
        .filter(name)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_is_explained_and_every_explained_metric_exists() -> Result<()> {
    let code: BTreeSet<String> = tracked()?
        .iter()
        .filter(|file| file.is_rust() && file.path.contains("/src/"))
        .filter(|file| !file.path.starts_with("harness/"))
        .flat_map(|file| metrics_in(&file.text, '"'))
        .collect();
    let explained = metrics_in(&read("docs/operations/metrics.md")?, '`');
    let unexplained = code
        .difference(&explained)
        .map(|name| format!("{name} is not explained"));
    let unknown = explained
        .difference(&code)
        .map(|name| format!("{name} does not exist"));
    none(
        unexplained.chain(unknown).collect(),
        "docs/operations/metrics.md explains every metric, and no other",
    );
    Ok(())
}

#[test]
fn every_invariant_is_listed_with_tests_that_exist() -> Result<()> {
    let architecture = read("docs/architecture.md")?;
    let files = tracked()?;
    let exists = |test: &str| {
        let function = format!("fn {test}(");
        files
            .iter()
            .any(|file| file.is_rust() && file.text.contains(&function))
    };
    let mut found = Vec::new();
    for invariant in Invariant::EVERY {
        let start = format!("| {invariant} ");
        let Some(row) = architecture.lines().find(|line| line.starts_with(&start)) else {
            found.push(format!("no row \"{start}\""));
            continue;
        };
        let last = row.trim_end_matches(['|', ' ']).rsplit('|').next();
        let tests: Vec<&str> = last
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        if tests.is_empty() {
            found.push(format!("{invariant}: its last column names no test"));
        }
        let gone = tests.iter().filter(|test| !exists(test));
        found.extend(gone.map(|test| format!("{invariant}: there is no test {test}")));
    }
    none(
        found,
        "docs/architecture.md: a row for each invariant, its tests in the last column",
    );
    Ok(())
}

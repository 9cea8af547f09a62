//! One version of Cassandra is required, and every text that names it names the same.

use anyhow::{Context, Result, ensure};

use crate::tree::{none, read, tracked};

/// The sentence in the code that every text has to agree with.
fn required() -> Result<String> {
    let code = read("adapters/cassandra/src/release.rs")?;
    let (_, rest) = code
        .split_once("pub const REQUIRED_SERVER: &str = \"")
        .context("release.rs names no required server")?;
    let (sentence, _) = rest.split_once('"').context("the sentence ends")?;
    Ok(sentence.to_owned())
}

/// The version at the beginning of `text`, and what comes after it.
fn version(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (version, rest) = text.split_at(end.unwrap_or(text.len()));
    let trimmed = version.trim_end_matches('.');
    (!trimmed.is_empty()).then_some((trimmed, rest))
}

/// The versions of Cassandra that a text calls required.
fn required_in(text: &str) -> Vec<String> {
    const NAME: &str = "Cassandra ";
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let places = text.match_indices(NAME);
    let versions = places.filter_map(|(at, _)| {
        let (version, rest) = version(&text[at + NAME.len()..])?;
        let before = text[..at].trim_end_matches("Apache ").trim_end();
        let is_minimum = [" or later", " or newer", "+", " and later"]
            .iter()
            .any(|word| rest.starts_with(word));
        let is_needed = ["need", "needs", "require", "requires", "required:"]
            .iter()
            .any(|word| before.ends_with(word));
        (is_minimum || is_needed).then(|| version.to_owned())
    });
    versions.collect()
}

#[test]
fn every_text_requires_the_same_version_of_cassandra() -> Result<()> {
    let required = required()?;
    let wanted = required_in(&required);
    ensure!(wanted.len() == 1, "{required} names one version");
    let mut found = Vec::new();
    for file in tracked()? {
        if file.path != "tests/tidy/versions.rs" {
            let others = required_in(&file.text).into_iter();
            let others = others.filter(|version| *version != wanted[0]);
            found.extend(
                others.map(|version| format!("{} requires Cassandra {version}", file.path)),
            );
        }
    }
    for path in ["README.md", "docs/operations/server-configuration.md"] {
        if !read(path)?.contains(&required) {
            found.push(format!("{path} does not say: {required}"));
        }
    }
    none(found, &format!("texts agree with the code: {required}"));
    Ok(())
}

#[test]
fn the_servers_that_tests_and_compose_run_are_of_a_release_that_is_supported() -> Result<()> {
    let numbers = |version: &str| -> Vec<u32> {
        version
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    let required = required_in(&required()?);
    let versions = read("deploy/versions.env")?;
    let pinned = |name: &str| {
        let version = versions.lines().find_map(|line| line.strip_prefix(name));
        version.with_context(|| format!("deploy/versions.env has {name}"))
    };
    let oldest = pinned("CASSANDRA_OLDEST_VERSION=")?;
    ensure!(
        oldest == required[0],
        "{oldest} is run as the oldest, and not {required:?}"
    );
    let pinned = pinned("CASSANDRA_VERSION=")?;
    ensure!(
        numbers(pinned) >= numbers(&required[0]),
        "{pinned} is older than {required:?}"
    );
    let compose = read("deploy/compose.yaml")?;
    let images: Vec<_> = compose
        .lines()
        .filter(|line| line.contains("image:") && line.contains("cassandra"))
        .collect();
    ensure!(!images.is_empty(), "deploy/compose.yaml runs Cassandra");
    for image in images {
        ensure!(
            image.contains("${CASSANDRA_VERSION"),
            "{image} does not take the pinned version"
        );
    }
    Ok(())
}

#[test]
fn a_version_is_required_by_the_words_around_it() {
    for (text, versions) in [
        ("Apache Cassandra 4.1.6 or\n  later, and", vec!["4.1.6"]),
        ("needs Apache Cassandra 5.0.", vec!["5.0"]),
        ("Cassandra 5.0+", vec!["5.0"]),
        ("seen on Cassandra 5.0.9: of increments", vec![]),
        ("Cassandra 3 and later lack it", vec!["3"]),
    ] {
        assert_eq!(required_in(text), versions, "{text}");
    }
}

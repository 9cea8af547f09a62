//! Names: every public type of the ground crates is made of words that docs/glossary.md has, and retired words do not
//! come back.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::crates::GROUND;
use crate::tree::{TrackedFile, none, read, tracked};

const GLOSSARY: &str = "docs/glossary.md";

/// Where retired words may be: these say what was and what it is called now, or hold test data.
const HISTORY: [&str; 4] = [
    GLOSSARY,
    "CHANGELOG.md",
    "fuzz/corpus/",
    "tests/tidy/names.rs",
];

/// The glossary: the words that it has, and those that it retires.
struct Glossary {
    words: BTreeSet<String>,
    retired: BTreeSet<String>,
}

impl Glossary {
    fn read() -> Result<Self> {
        let text = read(GLOSSARY)?;
        let (kept, retired) = text
            .split_once("\n## Part 3")
            .context("docs/glossary.md has no part 3")?;
        let (_, retired) = retired
            .split_once("\n### Retired everywhere")
            .context("docs/glossary.md retires nothing everywhere")?;
        let retired = retired.split("\n### ").next().unwrap_or_default();
        let glossary = Self {
            words: quoted(kept).flat_map(|text| words_of(&text)).collect(),
            retired: retired
                .lines()
                .filter_map(|line| line.strip_prefix('|')?.split('|').next())
                .flat_map(|cell| quoted(cell).collect::<Vec<_>>())
                .collect(),
        };
        ensure!(glossary.words.len() > 100, "the glossary has few words");
        ensure!(
            glossary.retired.len() > 30,
            "the glossary retires few words"
        );
        Ok(glossary)
    }

    /// The glossary has the word, or the one that it is the plural of.
    fn has(&self, word: &str) -> bool {
        let singular = word.strip_suffix('s').unwrap_or(word);
        self.words.contains(word) || self.words.contains(singular)
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The words of a name or a text, in lower case: `RangeTotals`, `range_totals` and "range totals" have the same.
fn words_of(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in text.chars() {
        let begins = letter.is_uppercase() && !before.is_uppercase();
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The names that a file of Rust gives to items of these kinds, each with its line.
fn names<'a>(
    file: &'a TrackedFile,
    kinds: &'a [&'a str],
) -> impl Iterator<Item = (usize, &'a str)> {
    let code = file.text.lines().enumerate();
    code.filter_map(move |(line, text)| {
        let mut tokens = text
            .trim_start()
            .split(|c: char| !c.is_alphanumeric() && c != '_');
        tokens.find(|token| kinds.contains(token))?;
        tokens
            .find(|token| !token.is_empty())
            .map(|name| (line + 1, name))
    })
}

#[test]
fn public_types_of_the_ground_crates_are_made_of_words_of_the_glossary() -> Result<()> {
    let glossary = Glossary::read()?;
    let is_ground = |path: &str| {
        GROUND
            .iter()
            .any(|folder| path.starts_with(&format!("{folder}/src/")))
    };
    let mut found = Vec::new();
    for file in tracked()?
        .iter()
        .filter(|file| file.is_rust() && is_ground(&file.path))
    {
        let public = TrackedFile {
            path: file.path.clone(),
            text: file
                .text
                .lines()
                .map(public_only)
                .collect::<Vec<_>>()
                .join("\n"),
        };
        for (line, name) in names(&public, &["struct", "enum", "trait", "type"]) {
            let unknown: Vec<_> = words_of(name)
                .into_iter()
                .filter(|word| !glossary.has(word))
                .collect();
            if !unknown.is_empty() {
                found.push(format!(
                    "{}:{line}: {name}: {}",
                    file.path,
                    unknown.join(", ")
                ));
            }
        }
    }
    none(
        found,
        "a public type is named by words that docs/glossary.md has",
    );
    Ok(())
}

/// The line, if it is a public item.
fn public_only(line: &str) -> &str {
    let is_public = line.starts_with("pub ") || line.starts_with("pub(crate) ");
    if is_public { line } else { "" }
}

/// Where `word` stands in `text` as a whole word.
fn is_in(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

fn returned(files: &[TrackedFile], retired: &BTreeSet<String>) -> Vec<String> {
    let kinds = [
        "struct", "enum", "trait", "type", "fn", "mod", "const", "static",
    ];
    let mut found = Vec::new();
    for file in files {
        if HISTORY.iter().any(|history| file.path.starts_with(history)) {
            continue;
        }
        for (line, text) in file.text.lines().enumerate() {
            let words = retired.iter().filter(|word| is_in(text, word));
            found.extend(words.map(|word| format!("{}:{}: {word}", file.path, line + 1)));
        }
        if !file.is_rust() {
            continue;
        }
        for (line, name) in names(file, &kinds) {
            let words = words_of(name);
            let is_retired = words.iter().find(|word| retired.contains(*word));
            found.extend(is_retired.map(|word| format!("{}:{line}: {name}: {word}", file.path)));
        }
    }
    found
}

#[test]
fn retired_words_do_not_come_back() -> Result<()> {
    let glossary = Glossary::read()?;
    none(
        returned(&tracked()?, &glossary.retired),
        "docs/glossary.md says what the word is now",
    );
    Ok(())
}

#[test]
fn a_retired_word_is_found_as_a_name_and_as_a_phrase() {
    let file = |text: &str| TrackedFile {
        path: "a.rs".to_owned(),
        text: text.to_owned(),
    };
    let retired = ["errand", "way out", "KeeperError"].map(str::to_owned);
    let retired = BTreeSet::from(retired);
    let of = |text: &str| returned(&[file(text)], &retired).len();
    assert_eq!(of("pub(crate) fn run_errand() {}"), 1);
    assert_eq!(of("struct Errand;"), 1);
    assert_eq!(of("// on an errand there is a way out"), 2);
    assert_eq!(of("KeeperError::NoNode, a gatekeeper, MyKeeperError"), 1);
    assert_eq!(of("// errands\nfn run_errands_of() {}"), 0);
}

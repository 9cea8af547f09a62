//! Compares every locked package with the advisories of RustSec: with its database, if `deploy/advisories` could bring it here,
//! else with a snapshot, whose date is printed. Being offline fails nothing.

use std::io::{Write, stdout};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use semver::{Version, VersionReq};

use crate::tree::{none, read, root};

/// A clone of the database.
const DATABASE: &str = "target/tools/advisory-db";
/// What is known without one.
const SNAPSHOT: &str = "tests/tidy/advisories.toml";

struct Advisory {
    id: String,
    package: String,
    /// Versions that are not affected.
    fine: Vec<VersionReq>,
}

impl Advisory {
    /// Of the table with its name, and the one with its versions.
    fn new(about: &toml::Table, versions: Option<&toml::Table>) -> Result<Self> {
        let text = |name: &str| {
            let value = about.get(name).and_then(toml::Value::as_str);
            value.map(str::to_owned).context(name.to_owned())
        };
        let lists = ["patched", "unaffected"].into_iter();
        let lists = lists.filter_map(|name| versions?.get(name)?.as_array());
        let requirements = lists.flatten().filter_map(toml::Value::as_str);
        Ok(Self {
            id: text("id")?,
            package: text("package")?,
            fine: requirements
                .map(VersionReq::parse)
                .collect::<Result<_, _>>()?,
        })
    }

    fn is_about(&self, package: &str, version: &Version) -> bool {
        let is_fine = |requirement: &VersionReq| requirement.matches(version);
        self.package == package && !self.fine.iter().any(is_fine)
    }
}

/// An advisory as the database has it: TOML, and a text.
fn parsed(text: &str) -> Result<Option<Advisory>> {
    let rest = text.split_once("```toml\n").context("a table")?.1;
    let table: toml::Table = rest.split("\n```").next().unwrap_or_default().parse()?;
    let about = table["advisory"].as_table().context("advisory")?;
    if about.contains_key("withdrawn") {
        return Ok(None);
    }
    let versions = table.get("versions").and_then(toml::Value::as_table);
    Advisory::new(about, versions).map(Some)
}

fn database(folder: &Path) -> Result<Vec<Advisory>> {
    let mut advisories = Vec::new();
    for package in std::fs::read_dir(folder.join("crates"))? {
        for file in std::fs::read_dir(package?.path())? {
            let path = file?.path();
            let text = std::fs::read_to_string(&path)?;
            advisories.extend(parsed(&text).with_context(|| path.display().to_string())?);
        }
    }
    Ok(advisories)
}

fn snapshot(text: &str) -> Result<(String, Vec<Advisory>)> {
    let table: toml::Table = text.parse()?;
    let date = table["date"].as_str().context("date")?.to_owned();
    let advisories = table.get("advisory").and_then(toml::Value::as_array);
    let advisories = advisories.into_iter().flatten();
    let advisories = advisories.map(|advisory| {
        let table = advisory.as_table().context("a table")?;
        Advisory::new(table, Some(table))
    });
    Ok((date, advisories.collect::<Result<_>>()?))
}

/// The locked packages that an advisory is about.
fn affected(lock: &toml::Table, advisories: &[Advisory], ignored: &[&str]) -> Result<Vec<String>> {
    let packages = lock["package"].as_array().context("packages")?;
    let mut found = Vec::new();
    for package in packages {
        let text = |name: &str| package[name].as_str().unwrap_or_default();
        let (name, version) = (text("name"), Version::parse(text("version"))?);
        let about = advisories.iter().filter(|advisory| {
            advisory.is_about(name, &version) && !ignored.contains(&advisory.id.as_str())
        });
        found.extend(about.map(|advisory| format!("{name} {version}: {}", advisory.id)));
    }
    Ok(found)
}

#[test]
fn no_locked_package_has_an_advisory() -> Result<()> {
    let folder = root()?.join(DATABASE);
    let (source, advisories) = if folder.join("crates").is_dir() {
        (DATABASE.to_owned(), database(&folder)?)
    } else {
        let (date, advisories) = snapshot(&read(SNAPSHOT)?)?;
        (format!("{SNAPSHOT} of {date}"), advisories)
    };
    // Which of the two is seen in any log: a test's own output is shown only if it fails.
    writeln!(stdout().lock(), "{} advisories: {source}", advisories.len())?;
    ensure!(!advisories.is_empty(), "{source} has no advisory");
    let rules: toml::Table = read("deny.toml")?.parse()?;
    let ignored = rules["advisories"]["ignore"].as_array().context("ignore")?;
    let ignored: Vec<&str> = ignored.iter().filter_map(toml::Value::as_str).collect();
    let lock: toml::Table = read("Cargo.lock")?.parse()?;
    none(
        affected(&lock, &advisories, &ignored)?,
        "a package with an advisory: take a version that is not affected, or say in deny.toml why it does not matter",
    );
    Ok(())
}

#[test]
fn an_advisory_is_about_versions_that_are_neither_patched_nor_unaffected() -> Result<()> {
    let text = "```toml\n[advisory]\nid = \"RUSTSEC-1\"\npackage = \"a\"\n\n[versions]\n\
                patched = [\">= 1.2.3\", \"^0.9.7\"]\nunaffected = [\"< 0.5\"]\n```\n\n# Words";
    let advisory = parsed(text)?.context("it is not withdrawn")?;
    let lock = |version: &str| -> Result<toml::Table> {
        Ok(format!("[[package]]\nname = \"a\"\nversion = \"{version}\"").parse()?)
    };
    let advisories = [advisory];
    for (version, is_affected) in [
        ("0.4.9", false),
        ("0.5.0", true),
        ("0.9.6", true),
        ("0.9.8", false),
        ("1.2.2", true),
        ("1.2.3", false),
    ] {
        let found = affected(&lock(version)?, &advisories, &[])?;
        ensure!(
            found.len() == usize::from(is_affected),
            "{version}: {found:?}"
        );
        ensure!(affected(&lock(version)?, &advisories, &["RUSTSEC-1"])?.is_empty());
    }
    let withdrawn = text.replace("package", "withdrawn = \"2024-01-01\"\npackage");
    ensure!(parsed(&withdrawn)?.is_none());
    // Without versions it is about all of them.
    let unmaintained = "```toml\n[advisory]\nid = \"RUSTSEC-2\"\npackage = \"a\"\n```\n";
    let unmaintained = [parsed(unmaintained)?.context("it is not withdrawn")?];
    ensure!(affected(&lock("7.0.0")?, &unmaintained, &[])?.len() == 1);
    Ok(())
}

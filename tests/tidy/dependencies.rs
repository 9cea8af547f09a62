//! Audits dependencies offline: compares `cargo metadata` with `deny.toml`.
//!
//! Building `cargo-deny` takes longer than all other checks together, so its rules for licences, sources and wrappers
//! are applied here, and advisories in `advisories`. The file keeps its format: `cargo deny check` works, too.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::tree::{none, read, root};

pub(crate) fn packages() -> Result<Vec<Value>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let listed = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        // Packages for other systems are not fetched.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root()?)
        .output()?;
    ensure!(
        listed.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let metadata: Value = serde_json::from_slice(&listed.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    Ok(packages.clone())
}

fn rules() -> Result<toml::Table> {
    Ok(read("deny.toml")?.parse()?)
}

fn texts(list: &toml::Value) -> Vec<&str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(toml::Value::as_str).collect()
}

#[test]
fn every_licence_is_allowed() -> Result<()> {
    let rules = rules()?;
    let allowed = texts(&rules["licenses"]["allow"]);
    ensure!(!allowed.is_empty(), "deny.toml allows no licence");
    let mut found = Vec::new();
    for package in packages()? {
        let licence = package["license"].as_str().unwrap_or("none");
        // `LAX` reads MIT/Apache-2.0 as OR.
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let exceptions = rules["licenses"]["exceptions"].as_array();
        let exceptions = exceptions.context("licenses.exceptions")?.iter();
        let excepted: Vec<_> = exceptions
            .filter(|exception| exception["crate"].as_str() == package["name"].as_str())
            .flat_map(|exception| texts(&exception["allow"]))
            .collect();
        let fine = expression.is_ok_and(|expression| {
            expression.evaluate(|wanted| {
                let wanted = wanted.to_string();
                allowed.contains(&wanted.as_str()) || excepted.contains(&wanted.as_str())
            })
        });
        if !fine {
            found.push(format!("{}: {licence}", package["name"]));
        }
    }
    none(found, "a licence that deny.toml does not allow");
    Ok(())
}

#[test]
fn every_package_comes_from_the_registry() -> Result<()> {
    let rules = rules()?;
    let allowed = texts(&rules["sources"]["allow-registry"]);
    let mut found = Vec::new();
    for package in packages()? {
        let name = package["name"].as_str().unwrap_or_default();
        let fine = match package["source"].as_str() {
            Some(source) => allowed
                .iter()
                .any(|allowed| source == format!("registry+{allowed}")),
            None => name.starts_with("stitch-"),
        };
        if !fine {
            found.push(format!("{name}: {}", package["source"]));
        }
    }
    none(found, "a source that deny.toml does not allow");
    Ok(())
}

#[test]
fn only_the_named_packages_depend_on_a_servers_client() -> Result<()> {
    let rules = rules()?;
    let denied = rules["bans"]["deny"].as_array().context("bans.deny")?;
    ensure!(denied.len() == 4, "deny.toml names the four clients");
    let mut found = Vec::new();
    for package in packages()? {
        let name = package["name"].as_str().unwrap_or_default();
        let dependencies = package["dependencies"].as_array().context("dependencies")?;
        for denied in denied {
            // What another package could be built with is none of ours.
            let is_ours = name.starts_with("stitch-");
            let depends = dependencies.iter().any(|dependency| {
                let is_built = dependency["optional"] != true && dependency["kind"] != "dev";
                let is_built = is_ours || is_built;
                is_built && dependency["name"].as_str() == denied["crate"].as_str()
            });
            if depends && !texts(&denied["wrappers"]).contains(&name) {
                found.push(format!("{name} depends on {}", denied["crate"]));
            }
        }
    }
    none(found, "a client outside its adapter");
    Ok(())
}

#[test]
fn every_version_is_locked_with_its_checksum() -> Result<()> {
    let lock: toml::Table = read("Cargo.lock")?.parse()?;
    let packages = lock["package"].as_array().context("packages")?;
    let unchecked = |package: &&toml::Value| {
        package.get("source").is_some() && package.get("checksum").is_none()
    };
    let found = packages
        .iter()
        .filter(unchecked)
        .map(|package| package["name"].to_string())
        .collect();
    none(found, "a package without checksum");
    Ok(())
}

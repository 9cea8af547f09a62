//! What the crates may know of each other. Cargo refuses what a manifest does not name; these tests hold the manifests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::dependencies::packages;
use crate::tree::{TrackedFile, none, tracked};

/// The servers' clients.
const CLIENTS: [&str; 4] = ["rdkafka", "scylla", "zookeeper-client", "object_store"];

/// What is built and tested without any of them.
const WITHOUT_CLIENTS: [&str; 14] = [
    "stitch-batch",
    "stitch-batch-program",
    "stitch-control",
    "stitch-common",
    "stitch-config",
    "stitch-access",
    "stitch-protocol",
    "stitch-totals",
    "stitch-expected",
    "stitch-calendar",
    "stitch-testkit",
    "stitch-simulation",
    "stitch-model",
    "stitch-fuzz",
];

/// The crates that others are built on.
pub(crate) const GROUND: [&str; 16] = [
    "batch",
    "control",
    "common",
    "config",
    "access",
    "protocol",
    "totals",
    "expected",
    "calendar",
    "app",
    "adapters/zookeeper",
    "adapters/kafka",
    "adapters/cassandra",
    "adapters/objects",
    "adapters/tls",
    "archive",
];

/// No circle between the modules of these, beside the ground crates.
const WITHOUT_CIRCLES: [&str; 8] = [
    "api",
    "api/request",
    "api/freshness",
    "api/tables",
    "testkit",
    "simulation",
    "model",
    "fuzz",
];

/// Lines of production code in one crate; the restorator alone may have more.
const LINES_MAX: usize = 6000;

/// Every package that `package` is built with, itself included, by what `cargo tree` says.
fn built_with(package: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let listed = std::process::Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--no-default-features",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--package", package])
        .current_dir(crate::tree::root()?)
        .output()?;
    anyhow::ensure!(
        listed.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let text = String::from_utf8(listed.stdout)?;
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    Ok(text.lines().map(name).collect())
}

#[test]
fn the_domain_and_its_worlds_are_built_without_any_client() -> Result<()> {
    let mut found = Vec::new();
    for package in WITHOUT_CLIENTS {
        let packages = built_with(package)?;
        anyhow::ensure!(packages.contains(package), "{package}: {packages:?}");
        let clients = CLIENTS.iter().filter(|client| packages.contains(**client));
        found.extend(clients.map(|client| format!("{package} is built with {client}")));
    }
    none(
        found,
        "the domain, the simulation, the model and the fuzzer need no server's client",
    );
    Ok(())
}

/// The folder of a crate's sources, and each of its modules by its first name, with the modules it uses.
fn modules(files: &[TrackedFile], folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let sources = format!("{folder}/src/");
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some(path) = file.path.strip_prefix(&sources) else {
            continue;
        };
        let module = path.split(['/', '.']).next().unwrap_or_default().to_owned();
        let is_test = path.contains("tests");
        if module == "lib" || module == "main" || is_test {
            continue;
        }
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let used = modules.entry(module.clone()).or_default();
        for line in code {
            for (at, _) in line.match_indices("crate::") {
                let is_whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                let name = line[at + "crate::".len()..]
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default();
                if is_whole && name != module && !name.is_empty() {
                    used.insert(name.to_owned());
                }
            }
        }
    }
    let names: BTreeSet<String> = modules.keys().cloned().collect();
    for used in modules.values_mut() {
        used.retain(|name| names.contains(name));
    }
    modules
}

/// The modules that lie on a circle: what remains when everything that uses nothing that remains is taken away.
fn circle(mut modules: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let names: BTreeSet<String> = modules.keys().cloned().collect();
        for used in modules.values_mut() {
            used.retain(|name| names.contains(name));
        }
        let before = modules.len();
        modules.retain(|_, used| !used.is_empty());
        if modules.len() == before {
            return modules.into_keys().collect();
        }
    }
}

#[test]
fn no_modules_use_each_other_in_a_circle() -> Result<()> {
    let files = tracked()?;
    let mut found = Vec::new();
    for folder in GROUND.into_iter().chain(WITHOUT_CIRCLES) {
        let modules = modules(&files, folder);
        anyhow::ensure!(!modules.is_empty(), "{folder} has no modules");
        let circle = circle(modules);
        if !circle.is_empty() {
            found.push(format!("{folder}: {}", circle.join(", ")));
        }
    }
    none(found, "each module can be read before those that use it");
    Ok(())
}

#[test]
fn a_circle_is_found() {
    let file = |path: &str, text: &str| TrackedFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file("a/src/lib.rs", "pub mod one;\n"),
        file("a/src/one.rs", "use crate::two::Two;\n"),
        file("a/src/two/more.rs", "fn f() -> crate::one::One;\n"),
        file("a/src/three.rs", "use crate::one::One;\n// crate::four\n"),
        file("a/src/four.rs", "#[cfg(test)]\nuse crate::three::Three;\n"),
    ];
    // Whatever leads into the circle remains, too: it cannot be read before.
    assert_eq!(circle(modules(&files, "a")), ["one", "three", "two"]);
}

#[test]
fn no_crate_is_a_drawer() -> Result<()> {
    let files = tracked()?;
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some((folder, path)) = file.path.split_once("/src/") else {
            continue;
        };
        if path.contains("tests") || path.contains("testing") {
            continue;
        }
        let code = file.text.split("#[cfg(test)]\nmod tests {").next();
        *lines.entry(folder.to_owned()).or_default() += code.unwrap_or_default().lines().count();
    }
    anyhow::ensure!(
        lines.len() >= packages()?.iter().filter(|p| p["source"].is_null()).count() - 1
    );
    let product = |folder: &str| !["harness", "simulation", "restorator"].contains(&folder);
    let found = lines
        .into_iter()
        .filter(|(folder, lines)| product(folder) && *lines > LINES_MAX)
        .map(|(folder, lines)| format!("{folder}: {lines} lines"))
        .collect();
    none(
        found,
        "at most 6,000 lines of production code in a crate, but the restorator",
    );
    Ok(())
}

//! Describes the machine, the servers and the build that are measured.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use crate::servers::repository;
use anyhow::{Context, Result};
use chrono::Utc;

/// One sentence with date, build, machine and servers.
pub fn describe() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let model = value(&cpu, "model name").unwrap_or("unknown processor");
    let kib: u64 = value(&memory, "MemTotal")
        .and_then(|value| value.split(' ').next()?.parse().ok())
        .context("the size of the memory")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!(
        "measured on {} UTC by Stitch {} ({} build, commit {}): {model}, {} cores shared by clients and servers, {} GiB; \
         load when it began: {load}. One node each of {}.",
        Utc::now().format("%Y-%m-%d %H:%M"),
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        commit()?,
        available_parallelism()?,
        kib / (1024 * 1024),
        servers()?,
    ))
}

/// The commit, as git describes it; with `+` if there are uncommitted changes.
fn commit() -> Result<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository()?);
    git.args([
        "describe",
        "--always",
        "--abbrev=7",
        "--dirty=+",
        "--exclude=*",
    ]);
    let output = git.output().context("git")?;
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if commit.is_empty() {
        "unknown".to_owned()
    } else {
        commit
    })
}

fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// The servers' versions, as `deploy/versions.env` pins them.
fn servers() -> Result<String> {
    let pinned = fs::read_to_string(repository()?.join("deploy/versions.env"))?;
    let version = |name: &str| {
        let start = format!("{}_VERSION=", name.to_ascii_uppercase());
        let line = pinned.lines().find_map(|line| line.strip_prefix(&start));
        format!("{name} {}", line.unwrap_or("of unknown version"))
    };
    let names = ["ZooKeeper", "Kafka", "Cassandra"];
    Ok(names.map(version).join(", "))
}

//! What a process has used, as Linux tells it.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

/// Linux counts a process's time in hundredths of a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
/// Where user and system time stand in `stat`, counted behind the program's name.
const USER_TIME: usize = 11;
/// And those of children that have ended and were waited for.
const CHILDREN_USER_TIME: usize = 13;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Seconds of a processor that a process has used, user and system.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    times(pid, USER_TIME)
}

/// The same of all processes that this one has started and that have ended.
pub(crate) fn ended_children_cpu_seconds() -> Result<f64> {
    times(i32::try_from(std::process::id())?, CHILDREN_USER_TIME)
}

fn times(pid: i32, first: usize) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&file).with_context(|| file.clone())?;
    let (_, fields) = stat.rsplit_once(") ").context("a program's name")?;
    let times: Vec<f64> = fields
        .split(' ')
        .skip(first)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| file)?;
    Ok(times.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// The most memory that a process has had so far, in MiB; none if it is gone.
pub(crate) fn peak_mib(pid: i32) -> Option<f64> {
    mib(pid, "VmHWM:")
}

/// The memory that a process has now, in MiB; none if it is gone.
pub(crate) fn memory_mib(pid: i32) -> Option<f64> {
    mib(pid, "VmRSS:")
}

fn mib(pid: i32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Keeps `peak` up to date until it is dropped.
pub(crate) async fn watch_peak(pid: i32, peak: &Cell<f64>) {
    loop {
        if let Some(mib) = peak_mib(pid) {
            peak.set(mib);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(peak_mib(pid).unwrap() > 1.0);
    }
}

//! CPU time and memory of a process, as Linux reports them in `/proc`.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

/// Linux reports a process's CPU time in hundredths of a second, whatever the rate of its timer.
const TICKS_PER_SECOND: f64 = 100.0;
/// The field of `stat`, counted after the program's name, with the user time; the system time follows.
const USER_TIME: usize = 11;
/// The same for children that have exited and were waited for.
const CHILDREN_USER_TIME: usize = 13;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// CPU seconds of a process, user and system.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    times(pid, USER_TIME)
}

/// CPU seconds of all child processes that have exited.
pub(crate) fn children_cpu_seconds() -> Result<f64> {
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

/// A process's peak memory so far, in MiB; none if it has exited.
pub(crate) fn peak_mib(pid: i32) -> Option<f64> {
    mib(pid, "VmHWM:")
}

/// A process's memory, in MiB; none if it has exited.
pub(crate) fn memory_mib(pid: i32) -> Option<f64> {
    mib(pid, "VmRSS:")
}

fn mib(pid: i32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Updates `peak` until this future is dropped.
pub(crate) async fn watch_peak(pid: i32, peak: &Cell<f64>) {
    loop {
        if let Some(mib) = peak_mib(pid) {
            peak.set(mib);
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_this_process_is_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(peak_mib(pid).unwrap() > 1.0);
    }
}

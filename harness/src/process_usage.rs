//! CPU time and memory of a process, as Linux reports them in `/proc`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use crate::process::{Finished, Program};
use anyhow::{Context, Result, bail, ensure};
use futures_util::future::{Either, select};
use serde::Serialize;
use tokio::time::{Instant, sleep};

/// Linux reports a process's CPU time in hundredths of a second, whatever the rate of its timer.
const TICKS_PER_SECOND: f64 = 100.0;
/// The field of `stat`, counted after the program's name, with the user time; the system time follows.
const USER_TIME: usize = 11;
/// The same for children that have exited and were waited for.
const CHILDREN_USER_TIME: usize = 13;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a process took from its start to its exit.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    pub seconds: f64,
    /// CPU time, user and system, of the process and of all that it started and waited for.
    pub cpu_seconds: f64,
    /// The peak memory of the process itself.
    pub peak_mib: f64,
    /// The most that its open files in the folder that was watched had in total.
    pub files_mib: f64,
}

/// Runs a program until it exits with one of `codes`, and watches it: also its open files in `folder`, which may have no
/// name any more. No other child process may exit meanwhile.
pub async fn watch(
    program: &Program,
    codes: &[i32],
    folder: Option<&Path>,
    bound: Duration,
) -> Result<(Finished, Usage)> {
    let (started, cpu_before) = (Instant::now(), children_cpu_seconds()?);
    let process = program.start()?;
    let (pid, peak, files) = (process.pid(), Cell::new(0.0), Cell::new(0.0));
    let watching = watch_peaks(pid, folder, &peak, &files);
    let finished = match select(pin!(process.finish(bound)), pin!(watching)).await {
        Either::Left((finished, _)) => finished?,
        Either::Right(((), _)) => bail!("watching never ends"),
    };
    ensure!(
        finished.code.is_some_and(|code| codes.contains(&code)),
        "{} exited with {:?}: {}{}",
        program.name,
        finished.code,
        finished.output,
        finished.errors
    );
    let usage = Usage {
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: children_cpu_seconds()? - cpu_before,
        peak_mib: peak.get(),
        files_mib: files.get(),
    };
    Ok((finished, usage))
}

/// CPU seconds of a process, user and system.
pub fn cpu_seconds(pid: i32) -> Result<f64> {
    times(pid, USER_TIME)
}

/// CPU seconds of all child processes that have exited.
pub fn children_cpu_seconds() -> Result<f64> {
    times(i32::try_from(std::process::id())?, CHILDREN_USER_TIME)
}

fn times(pid: i32, first: usize) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&file).with_context(|| file.clone())?;
    let (user, system) = seconds_in(&stat, first).with_context(|| file)?;
    Ok(user + system)
}

/// User and system time in a line of `stat`, from the field `first` on; in seconds.
fn seconds_in(stat: &str, first: usize) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(first);
    let mut next = || times.next()?.parse::<f64>().ok();
    Some((next()? / TICKS_PER_SECOND, next()? / TICKS_PER_SECOND))
}

/// CPU seconds of a thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadTimes {
    /// Linux keeps 15 bytes of it.
    pub name: String,
    pub user_seconds: f64,
    pub system_seconds: f64,
}

impl ThreadTimes {
    /// By the thread's line of `stat`.
    pub fn parse(stat: &str) -> Option<Self> {
        let (user_seconds, system_seconds) = seconds_in(stat, USER_TIME)?;
        let (name, _) = stat.split_once('(')?.1.rsplit_once(") ")?;
        Some(Self {
            name: name.to_owned(),
            user_seconds,
            system_seconds,
        })
    }
}

/// The threads of a process that run, by id.
pub fn threads(pid: i32) -> Result<BTreeMap<String, ThreadTimes>> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else {
            continue;
        };
        let id = thread.file_name().to_string_lossy().into_owned();
        let times = ThreadTimes::parse(&stat).context("the times of a thread")?;
        all.insert(id, times);
    }
    Ok(all)
}

/// A process's peak memory so far, in MiB; none if it has exited.
pub fn peak_mib(pid: i32) -> Option<f64> {
    mib(pid, "VmHWM:")
}

/// A process's memory, in MiB; none if it has exited.
pub fn memory_mib(pid: i32) -> Option<f64> {
    mib(pid, "VmRSS:")
}

fn mib(pid: i32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Updates the peaks until this future is dropped.
async fn watch_peaks(pid: i32, folder: Option<&Path>, peak: &Cell<f64>, files: &Cell<f64>) {
    loop {
        if let Some(mib) = peak_mib(pid) {
            peak.set(mib);
        }
        if let Some(folder) = folder {
            files.set(files.get().max(open_files_mib(pid, folder)));
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// The size of the files below `folder` that a process has open, each counted once, in MiB.
fn open_files_mib(pid: i32, folder: &Path) -> f64 {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut files = BTreeMap::new();
    for descriptor in descriptors.flatten() {
        let path = descriptor.path();
        let below = fs::read_link(&path).is_ok_and(|target| target.starts_with(folder));
        // Follows the link, also to a file whose name is gone.
        if below && let Ok(file) = fs::metadata(&path) {
            files.insert(file.ino(), file.blocks());
        }
    }
    let blocks: u64 = files.values().sum();
    // Linux counts blocks of 512 bytes.
    u32::try_from(blocks / 2048).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn usage_of_this_process_is_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(peak_mib(pid).unwrap() > 1.0);
    }

    #[test]
    fn open_files_count_once_their_names_are_gone_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap();
        let mut file = File::create(path.join("run")).unwrap();
        file.write_all(&vec![1; 3 << 20]).unwrap();
        file.sync_all().unwrap();
        let _again = file.try_clone().unwrap();
        fs::remove_file(path.join("run")).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!((3.0..4.0).contains(&open_files_mib(pid, &path)));
        assert_eq!(open_files_mib(pid, &path.join("other")), 0.0);
    }
}

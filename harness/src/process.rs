//! Processes of the product: starts, kills, freezes and stops them, reads their output, and leaves none running.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Of the log and of the output of a process that did not do what it should.
const LAST_LINES: usize = 100;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// The name of its output files; unique in `folder`.
    pub name: String,
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// Variables in addition to the inherited ones; `STITCH_…` is not inherited.
    pub environment: Vec<(String, String)>,
    /// The folder of its output, `<name>.out` and `<name>.err`.
    pub folder: PathBuf,
}

/// A running process. It is killed when this is dropped, unless it was [left running](Self::leave).
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    output: PathBuf,
    errors: PathBuf,
    left: bool,
}

/// Exit code and output of a process.
#[derive(Clone, Debug)]
pub struct Finished {
    /// None if a signal killed it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Program {
    pub fn start(&self) -> Result<Process> {
        let output = self.folder.join(format!("{}.out", self.name));
        let errors = self.folder.join(format!("{}.err", self.name));
        let mut command = Command::new(&self.path);
        // Configuration of this program, not of that one.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("STITCH_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("{} does not start", self.path.display()))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .context("a started process has an id")?;
        Ok(Process {
            name: self.name.clone(),
            child,
            pid,
            output,
            errors,
            left: false,
        })
    }

    /// Starts it and waits until it exits.
    pub async fn run(&self, bound: Duration) -> Result<Finished> {
        self.start()?.finish(bound).await
    }
}

impl Process {
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Its standard error so far.
    pub fn errors(&self) -> String {
        read_lossily(&self.errors)
    }

    /// Its standard output so far.
    pub fn output(&self) -> String {
        read_lossily(&self.output)
    }

    /// Freezes it by SIGSTOP.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Resumes it by SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends a signal; TERM and INT request a graceful stop. Fails if it has exited.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("{} has exited", self.name))
    }

    /// Kills it by SIGKILL, and waits until it is gone. Fails if it has exited before.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} exited before it was killed: {status}\n{}",
                self.name,
                self.errors()
            );
        }
        Ok(self.child.kill().await?)
    }

    /// Stops it by SIGTERM, and waits until it has exited.
    pub async fn stop(mut self, bound: Duration) -> Result<Finished> {
        if self.child.try_wait()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.finish(bound).await
    }

    /// Waits until it exits.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        match timeout(bound, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} still runs after {} s; its log and output:\n{}{}",
                self.name,
                bound.as_secs(),
                last_lines(&self.errors()),
                last_lines(&self.output())
            ),
        }
    }

    /// Waits until it exits, and returns its output.
    pub async fn finish(mut self, bound: Duration) -> Result<Finished> {
        let status = self.wait(bound).await?;
        Ok(Finished {
            code: status.code(),
            output: self.output(),
            errors: self.errors(),
        })
    }

    /// Waits until it has written a line that contains `text`, and returns that line. Fails if it exits first.
    pub async fn until_says(&mut self, text: &str, bound: Duration) -> Result<String> {
        let polling = async {
            loop {
                // Before reading, so that the last lines of a process are read.
                let exit = self.child.try_wait()?;
                let (errors, output) = (self.errors(), self.output());
                if let Some(line) = line_with(text, &errors).or(line_with(text, &output)) {
                    return Ok(line.to_owned());
                }
                if let Some(status) = exit {
                    let name = &self.name;
                    let (errors, output) = (last_lines(&errors), last_lines(&output));
                    bail!("{name} exited ({status}) without writing \"{text}\":\n{errors}{output}");
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        match timeout(bound, polling).await {
            Ok(said) => said,
            Err(_) => bail!(
                "{} has not written \"{text}\" after {} s; its log and output:\n{}{}",
                self.name,
                bound.as_secs(),
                last_lines(&self.errors()),
                last_lines(&self.output())
            ),
        }
    }

    /// Leaves it running.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left {
            // Fails only if it has exited.
            self.child.start_kill().ok();
        }
    }
}

/// The first complete line with this text; one without a newline may still be written.
fn line_with<'o>(text: &str, output: &'o str) -> Option<&'o str> {
    output
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .find(|line| line.contains(text))
}

/// As much of the end as a person reads.
pub fn last_lines(output: &str) -> &str {
    let mut newlines = output.rmatch_indices('\n').map(|(index, _)| index);
    let start = newlines.nth(LAST_LINES);
    &output[start.map_or(0, |newline| newline + 1)..]
}

fn read_lossily(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The executable of this name: in the folder `STITCH_BINARIES`, in the folder of this program, or (for a test, which
/// cargo puts into `deps`) in its parent.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = env::current_exe()?;
    let configured = env::var_os("STITCH_BINARIES").map(PathBuf::from);
    let folders = configured
        .into_iter()
        .chain(this.ancestors().skip(1).take(2).map(Path::to_owned));
    folders
        .map(|folder| folder.join(OsStr::new(name)))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} was not built: cargo build --bin {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        assert_eq!(last_lines(""), "");
        assert_eq!(last_lines("one\ntwo"), "one\ntwo");
        let many: String = (1..=LAST_LINES + 2)
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(last_lines(&many).starts_with("3\n4\n"), "{many}");
    }

    #[test]
    fn an_incomplete_line_is_not_matched() {
        assert_eq!(line_with("http://", "begun\nat http://127.0.0.1"), None);
        let whole = "begun\nat http://127.0.0.1:80\nat http://127.0.0.1:81\n";
        assert_eq!(line_with("http://", whole), Some("at http://127.0.0.1:80"));
    }
}

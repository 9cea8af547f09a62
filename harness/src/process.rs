//! Real processes of the product: started, killed, frozen, stopped; what they said; none is left running.

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

/// How often a log is looked at for what is awaited there.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Under which its files are kept; unique in its folder.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables beside those that it inherits; it inherits none of `STITCH_…`.
    pub environment: Vec<(String, String)>,
    /// Where its output goes: `<name>.out` and `<name>.err`.
    pub folder: PathBuf,
}

/// A running process. Dropping it kills it, unless it was [left](Self::leave).
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    output: PathBuf,
    errors: PathBuf,
    left: bool,
}

/// What a process that has ended leaves behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// If it is not there or cannot be started.
    pub fn start(&self) -> Result<Process> {
        let output = self.folder.join(format!("{}.out", self.name));
        let errors = self.folder.join(format!("{}.err", self.name));
        let mut command = Command::new(&self.path);
        // What this program was told by its environment is not meant for that one.
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

    /// Starts it and waits for its end.
    ///
    /// # Errors
    /// If it cannot be started or does not end within the bound.
    pub async fn run(&self, bound: Duration) -> Result<Finished> {
        self.start()?.finish(bound).await
    }
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn errors(&self) -> String {
        read_lossily(&self.errors)
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        read_lossily(&self.output)
    }

    /// Stops it where it stands.
    ///
    /// # Errors
    /// If it has ended.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it has ended.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends any signal: TERM and INT ask it to end.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("{} has ended", self.name))
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// If it has ended before.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} ended by itself before it was killed: {status}\n{}",
                self.name,
                self.errors()
            );
        }
        Ok(self.child.kill().await?)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// If it does not within the bound.
    pub async fn stop(mut self, bound: Duration) -> Result<Finished> {
        if self.child.try_wait()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.finish(bound).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it does not within the bound.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        match timeout(bound, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} still runs after {} s; it said:\n{}",
                self.name,
                bound.as_secs(),
                self.errors()
            ),
        }
    }

    /// Waits until it ends by itself, and gives all that it said.
    ///
    /// # Errors
    /// If it does not within the bound.
    pub async fn finish(mut self, bound: Duration) -> Result<Finished> {
        let status = self.wait(bound).await?;
        Ok(Finished {
            code: status.code(),
            output: self.output(),
            errors: self.errors(),
        })
    }

    /// Waits until it has written a line that contains `text`, and gives that line.
    ///
    /// # Errors
    /// If it ends first, or does not write it within the bound.
    pub async fn until_says(&mut self, text: &str, bound: Duration) -> Result<String> {
        let said = async {
            loop {
                // Asked before reading, so that the last words of a process are read.
                let ended = self.child.try_wait()?;
                let (errors, output) = (self.errors(), self.output());
                if let Some(line) = line_with(text, &errors).or(line_with(text, &output)) {
                    return Ok(line.to_owned());
                }
                if let Some(status) = ended {
                    let name = &self.name;
                    bail!("{name} ended ({status}) without saying \"{text}\":\n{errors}{output}");
                }
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(bound, said)
            .await
            .with_context(|| format!("no \"{text}\" within {} s", bound.as_secs()))?
    }

    /// Leaves it running, for whoever started this program to look at.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left {
            // An error says that it has ended already.
            self.child.start_kill().ok();
        }
    }
}

/// The first whole line with this text: one without an end may go on.
fn line_with<'s>(text: &str, said: &'s str) -> Option<&'s str> {
    said.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .find(|line| line.contains(text))
}

fn read_lossily(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The executable of this name: in the folder of `STITCH_BINARIES`, beside this program, or (for a test, which cargo
/// puts into `deps`) one folder above it.
///
/// # Errors
/// If it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = env::current_exe()?;
    let given = env::var_os("STITCH_BINARIES").map(PathBuf::from);
    let folders = given
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
    fn a_line_is_not_taken_before_its_end() {
        assert_eq!(line_with("http://", "begun\nat http://127.0.0.1"), None);
        let whole = "begun\nat http://127.0.0.1:80\nat http://127.0.0.1:81\n";
        assert_eq!(line_with("http://", whole), Some("at http://127.0.0.1:80"));
    }
}

//! Where a program's output leads must not matter to its work: full, closed, or read by somebody who stopped.
//!
//! Needs no servers: the configuration names ports that nothing listens on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to notice that no server answers.
const BOUND: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);
/// How long a program runs before it is asked to stop.
const RUN: Duration = Duration::from_secs(2);

/// A program in a folder of its own.
#[derive(Debug)]
pub struct Streams<'a> {
    program: &'a Path,
    folder: tempfile::TempDir,
}

impl<'a> Streams<'a> {
    /// The `program`, with `config` as its configuration but for the addresses of servers.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(program: &'a Path, config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("stitch.toml"), config)?;
        Ok(Self { program, folder })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("STITCH_LOG", "trace")
            .env("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1")
            .env("STITCH_ZOOKEEPER__SESSION_TIMEOUT_MS", "500")
            .env("STITCH_CASSANDRA__NODES", "127.0.0.1:1")
            .env("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", "127.0.0.1:1")
            .env("STITCH_HTTP__LISTEN", "127.0.0.1:0")
            .env("STITCH_API__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// A command whose logs are lost goes on, and ends as it would have: with 2, because no server answers, or with
    /// `stopped`, by the signal that it gets.
    ///
    /// # Errors
    /// It ended in another way, or not at all.
    pub fn ensure_logs_may_be_lost(&self, arguments: &[&str], stopped: i32) -> Result<()> {
        let (reader, broken) = io::pipe()?;
        drop(reader);
        let (_stalled, full) = io::pipe()?;
        let readers = [
            ("a full disk", Stdio::from(writable("/dev/full")?)),
            ("a reader that ended", Stdio::from(broken)),
            ("a reader that stopped", Stdio::from(full)),
        ];
        // At once: most of the time they wait for servers.
        let start = |(name, stderr)| {
            let child = self.command(arguments).stderr(stderr).spawn()?;
            Ok((name, child))
        };
        let started: Vec<(&str, Child)> = readers.into_iter().map(start).collect::<Result<_>>()?;
        for (name, child) in started {
            let status = ended(child, Some(RUN))?;
            ensure!(
                status
                    .code()
                    .is_some_and(|code| code == 2 || code == stopped),
                "{arguments:?}, standard error is {name}: {status}"
            );
        }
        Ok(())
    }

    /// Commands whose output cannot be written say so, and end with 2.
    ///
    /// # Errors
    /// One did not.
    pub fn ensure_lost_output_is_an_error(&self, commands: &[&[&str]]) -> Result<()> {
        let log = |number: usize| self.folder.path().join(format!("stderr-{number}"));
        // At once, as above.
        let start = |(number, arguments): (usize, &&[&str])| {
            let child = self
                .command(arguments)
                .env("STITCH_LOG", "off")
                .stdout(writable("/dev/full")?)
                .stderr(File::create(log(number))?)
                .spawn()?;
            Ok((number, child))
        };
        let commands_by_number = commands.iter().enumerate();
        let started: Vec<(usize, Child)> = commands_by_number.map(start).collect::<Result<_>>()?;
        for (number, child) in started {
            let status = ended(child, None)?;
            let text = fs::read_to_string(log(number))?;
            ensure!(
                status.code() == Some(2)
                    && text.contains("error: the output could not be written")
                    && !text.contains("panicked"),
                "{:?}: {status}: {text}",
                commands[number]
            );
        }
        Ok(())
    }

    /// A usage error repeats its argument, and no character of it that controls a terminal.
    ///
    /// # Errors
    /// It does not, or such a character comes through.
    pub fn ensure_usage_errors_are_escaped(&self) -> Result<()> {
        for argument in ["x\u{1b}[2K\ry", "--x\u{9b}2K\u{202e}y"] {
            let output = self.command(&[argument]).stderr(Stdio::piped()).output()?;
            let text = String::from_utf8(output.stderr)?;
            let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            ensure!(
                output.status.code() == Some(2) && text.contains("y'") && !text.contains(raw),
                "{}: {text:?}",
                output.status
            );
        }
        Ok(())
    }

    /// With `STITCH_LOG_FORMAT=json` each line is an object.
    ///
    /// # Errors
    /// It is not.
    pub fn ensure_logs_are_json(&self, arguments: &[&str]) -> Result<()> {
        let log = self.folder.path().join("stderr");
        let child = self
            .command(arguments)
            .args(["--output", "json"])
            .env("STITCH_LOG_FORMAT", "json")
            .env("STITCH_LOG", "debug")
            .stderr(File::create(&log)?)
            .spawn()?;
        ended(child, Some(RUN))?;
        let text = fs::read_to_string(log)?;
        ensure!(!text.is_empty(), "{arguments:?}: no log");
        for line in text.lines() {
            let object: serde_json::Value =
                serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(object["level"].is_string(), "{line}");
        }
        Ok(())
    }
}

fn writable(path: &str) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// How it ended: by itself, or after it was asked to stop, when it had run for this long.
fn ended(mut child: Child, run: Option<Duration>) -> Result<ExitStatus> {
    let mut waited = Duration::ZERO;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut pid = Some(pid.context("a process id")?);
    while waited < BOUND {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
        if run.is_some_and(|run| waited > run)
            && let Some(pid) = pid.take()
        {
            kill_process(pid, Signal::TERM)?;
        }
    }
    child.kill()?;
    bail!("it did not end within {BOUND:?}")
}

//! What goes on when the story has ended, if that was asked for: two processors, the API, and events that keep arriving.

use std::fmt::Write;

use anyhow::{Context, Result};
use stitch_harness::process::{Process, Program};
use stitch_harness::test_namespace::TestNamespace;

/// The file that names them, for `deploy/demo --stop`: a process id and a name on each line.
const LIST: &str = "kept";

/// Processes that outlive the story.
pub(crate) struct Kept<'a> {
    stage: &'a TestNamespace,
    running: Vec<(&'static str, Process)>,
}

impl<'a> Kept<'a> {
    pub(crate) const fn new(stage: &'a TestNamespace) -> Self {
        Self {
            stage,
            running: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, what: &'static str, process: Process) {
        self.running.push((what, process));
    }

    pub(crate) async fn processor(&mut self, name: &str) -> Result<()> {
        let process = self.stage.processor(name).await?;
        self.add("processor", process);
        Ok(())
    }

    /// This program once more, which does nothing but make events.
    pub(crate) fn traffic(&mut self, seed: u64, per_second: u32) -> Result<()> {
        let folder = &self.stage.folder;
        let servers = folder.parent().context("the folder of the servers")?;
        let program = Program {
            name: "traffic".to_owned(),
            path: std::env::current_exe()?,
            arguments: vec![
                format!("--servers={}", servers.display()),
                format!("--traffic={}", self.stage.topic()),
                format!("--per-second={per_second}"),
                format!("--seed={seed}"),
            ],
            environment: Vec::new(),
            folder: folder.clone(),
        };
        self.add("traffic", program.start()?);
        Ok(())
    }

    /// Lets them go, and says in a file and in a sentence which they are.
    pub(crate) fn leave(self) -> Result<String> {
        let (mut list, mut told) = (String::new(), Vec::new());
        for (what, process) in &self.running {
            writeln!(list, "{} {what}", process.pid())?;
            told.push(format!("{what} (pid {})", process.pid()));
        }
        // First the list: what it does not name could not be stopped by it.
        std::fs::write(self.stage.folder.join(LIST), list)?;
        for (_, process) in self.running {
            process.leave();
        }
        Ok(told.join(", "))
    }
}

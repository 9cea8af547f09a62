//! Processes that --keep leaves running after the story: two processors, the API, and events that keep arriving.

use std::fmt::Write;

use anyhow::{Context, Result};
use stitch_harness::process::{Process, Program};
use stitch_harness::test_namespace::TestNamespace;

/// The file that lists them, for `deploy/demo --stop` and `deploy/monitor`: a process id and a name on each line, and the
/// address where it has metrics.
const LIST: &str = "kept";

/// Processes that outlive the story.
pub(crate) struct Background<'a> {
    namespace: &'a TestNamespace,
    running: Vec<Running>,
}

struct Running {
    name: &'static str,
    process: Process,
    /// Of its HTTP server.
    address: Option<String>,
}

impl<'a> Background<'a> {
    pub(crate) const fn new(namespace: &'a TestNamespace) -> Self {
        Self {
            namespace,
            running: Vec::new(),
        }
    }

    /// Adds a process that has an HTTP server.
    pub(crate) async fn server(&mut self, name: &'static str, mut process: Process) -> Result<()> {
        let address = Some(TestNamespace::address(&mut process).await?);
        self.running.push(Running {
            name,
            process,
            address,
        });
        Ok(())
    }

    pub(crate) async fn processor(&mut self, name: &str) -> Result<()> {
        let process = self.namespace.processor(name).await?;
        self.server("processor", process).await
    }

    /// Starts this program again, as a generator of events.
    pub(crate) fn traffic(&mut self, seed: u64, per_second: u32) -> Result<()> {
        let folder = &self.namespace.folder;
        let servers = folder.parent().context("the folder of the servers")?;
        let program = Program {
            name: "traffic".to_owned(),
            path: std::env::current_exe()?,
            arguments: vec![
                format!("--servers={}", servers.display()),
                format!("--traffic={}", self.namespace.topic()),
                format!("--per-second={per_second}"),
                format!("--seed={seed}"),
            ],
            environment: Vec::new(),
            folder: folder.clone(),
        };
        self.running.push(Running {
            name: "traffic",
            process: program.start()?,
            address: None,
        });
        Ok(())
    }

    /// Lists the processes in the file and in a sentence, and leaves them running.
    pub(crate) fn leave(self) -> Result<String> {
        let (mut list, mut names) = (String::new(), Vec::new());
        for Running {
            name,
            process,
            address,
        } in &self.running
        {
            let address = address.as_deref().unwrap_or_default();
            writeln!(list, "{} {name} {address}", process.pid())?;
            names.push(format!("{name} (pid {})", process.pid()));
        }
        // First the list: a process that is not in it could not be stopped by the command.
        std::fs::write(self.namespace.folder.join(LIST), list)?;
        for running in self.running {
            running.process.leave();
        }
        Ok(names.join(", "))
    }
}

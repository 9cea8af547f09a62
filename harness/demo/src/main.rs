//! The program of `deploy/demo`: shows what Stitch is for. Counts events, corrupts the counts, restores them, recounts.

mod background;
mod narrator;
mod source;
mod story;
mod pages;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use stitch_harness::feed::Feed;
use stitch_harness::servers::Servers;

use narrator::Narrator;
use story::Story;

/// Counts events, corrupts the counts, restores them, and recounts them independently.
#[derive(Parser)]
struct Arguments {
    /// The folder of servers that `deploy/local` started.
    #[arg(long)]
    servers: PathBuf,
    /// A file of events, one JSON object a line, instead of generated ones; requires --config.
    #[arg(long, requires = "config")]
    events: Option<PathBuf>,
    /// A configuration file whose `[event]`, `[ranges]` and `[[counter]]` say what these events count.
    #[arg(long, requires = "events")]
    config: Option<PathBuf>,
    /// Seed of the generated events and of the choice of corrupted cells.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave processors, the API and generated events running at the end, to look around.
    #[arg(long)]
    keep: bool,
    /// Only generate events for this topic, as during the story.
    #[arg(long, hide = true, conflicts_with_all = ["keep", "events"])]
    traffic: Option<String>,
    /// Generated events a second.
    #[arg(long, hide = true, requires = "traffic", default_value_t = source::PER_SECOND)]
    per_second: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut narrator = Narrator::new(io::stdout());
    match run(Arguments::parse(), &mut narrator).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard output may be closed, too; the exit code still reports the failure.
            narrator.failed(&error).ok();
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments, narrator: &mut Narrator<io::Stdout>) -> Result<bool> {
    let servers = Servers::read(&arguments.servers)?;
    if let Some(topic) = &arguments.traffic {
        // Events of today: that is the end of the timeline that people watch.
        let events = source::endless(arguments.seed, 1)?;
        let live = Feed::new(&servers.kafka, topic)?.live(events, arguments.per_second);
        live.finish().await?;
        return Ok(true);
    }
    ensure!(
        servers.cassandra.len() == 1,
        "the demo needs exactly one Cassandra node: with several, requests would bypass its one proxy"
    );
    let source = match (arguments.events, arguments.config) {
        (Some(events), Some(config)) => source::file(&events, &config)?,
        _ => source::generated(arguments.seed)?,
    };
    let story = Story {
        servers,
        folder: arguments.servers.join("story"),
        seed: arguments.seed,
        keep: arguments.keep,
    };
    story.run(source, narrator).await
}

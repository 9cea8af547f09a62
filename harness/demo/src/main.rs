//! Tells by doing what Stitch is for: counts events, breaks the counts, restores them, recounts. `deploy/demo` starts it.

mod kept;
mod narrator;
mod source;
mod story;
mod window;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use stitch_harness::feed::Feed;
use stitch_harness::servers::Servers;

use narrator::Narrator;
use story::Story;

/// Counts events, breaks the counts, restores them, and recounts them independently.
#[derive(Parser)]
struct Arguments {
    /// The folder of servers that `deploy/local` started.
    #[arg(long)]
    servers: PathBuf,
    /// A file of events, one JSON object a line, instead of made ones; goes with --config.
    #[arg(long, requires = "config")]
    events: Option<PathBuf>,
    /// A configuration file whose `[event]`, `[ranges]` and `[[counter]]` say what these events count.
    #[arg(long, requires = "events")]
    config: Option<PathBuf>,
    /// What is made and broken at random follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave processors, the API and made traffic running at the end, to look around.
    #[arg(long)]
    keep: bool,
    /// Tell nothing: make events for this topic, as the story left them arriving.
    #[arg(long, hide = true, conflicts_with_all = ["keep", "events"])]
    traffic: Option<String>,
    /// So many of them each second.
    #[arg(long, hide = true, requires = "traffic", default_value_t = source::PER_SECOND)]
    per_second: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut narrator = Narrator::new(io::stdout());
    match tell(Arguments::parse(), &mut narrator).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard output may be gone as well; the exit code is not.
            narrator.failed(&error).ok();
            ExitCode::from(2)
        }
    }
}

async fn tell(arguments: Arguments, narrator: &mut Narrator<io::Stdout>) -> Result<bool> {
    let servers = Servers::read(&arguments.servers)?;
    if let Some(topic) = &arguments.traffic {
        // Of today: that is where people watch a timeline grow.
        let events = source::endless(arguments.seed, 1)?;
        let live = Feed::new(&servers.kafka, topic)?.live(events, arguments.per_second);
        live.finish().await?;
        return Ok(true);
    }
    ensure!(
        servers.cassandra.len() == 1,
        "the demo takes one Cassandra node: with several, one proxy would not catch everything"
    );
    let source = match (arguments.events, arguments.config) {
        (Some(events), Some(config)) => source::file(&events, &config)?,
        _ => source::made(arguments.seed)?,
    };
    let story = Story {
        servers,
        folder: arguments.servers.join("story"),
        seed: arguments.seed,
        keep: arguments.keep,
    };
    story.tell(source, narrator).await
}

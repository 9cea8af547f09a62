//! The program of `deploy/bench`: measures Stitch against its alternatives, in one run and on the same servers.

mod auditing;
mod baseline;
mod bounded;
mod counting;
mod growth;
mod load;
mod loading;
mod locks;
mod memory;
mod peers;
mod plot;
mod profile;
mod report;
mod serving;
mod sizes;
mod totalling;
mod wrong_cells;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use tokio::time::Instant;

use auditing::Table;
use baseline::Baseline;
use load::{COUNTERS, Keys, Load};
use peers::PeerPrograms;
use profile::JavaTools;
use report::Results;
use sizes::Sizes;
use totalling::engines::Engines;

/// Measures Stitch against its alternatives.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The folder of servers that `deploy/local` started
    #[arg(long, required = true)]
    servers: Option<PathBuf>,
    /// Small sizes, to see that everything works: the figures mean little
    #[arg(long)]
    quick: bool,
    /// The parts to measure, of a to n
    #[arg(long, default_value = "abcdefghijklmn")]
    parts: String,
    /// The load generator of (g)
    #[arg(long)]
    oha: Option<PathBuf>,
    /// A Python that has DuckDB, for (h)
    #[arg(long)]
    python: Option<PathBuf>,
    /// The Spark of (h)
    #[arg(long)]
    spark_submit: Option<PathBuf>,
    /// The Java that runs the peers of (j) and (m), beside which are the tools of (n)
    #[arg(long)]
    java: Option<PathBuf>,
    /// The folder of the peers of (j) and (m)
    #[arg(long)]
    peers: Option<PathBuf>,
    /// The cells of (i), and those of the only topic of (h)
    #[arg(long)]
    cells: Option<u32>,
    /// The records of (i), and those of the only topic of (h)
    #[arg(long)]
    records: Option<u32>,
    /// The document in which the rows of these parts are replaced; the plots are written into its folder
    #[arg(long)]
    write: Option<PathBuf>,
    #[command(subcommand)]
    baseline: Option<Baseline>,
}

/// Servers, sizes and the folder of results.
pub(crate) struct Bench {
    pub(crate) servers: Servers,
    pub(crate) folder: PathBuf,
    pub(crate) sizes: Sizes,
    started: Instant,
}

impl Bench {
    /// Creates a namespace, with the product's defaults where they matter to speed.
    pub(crate) async fn namespace(&self, name: &str, changes: &str) -> Result<TestNamespace> {
        self.partitioned(name, 4, changes).await
    }

    /// The same, with another number of partitions.
    pub(crate) async fn partitioned(
        &self,
        name: &str,
        partitions: i32,
        changes: &str,
    ) -> Result<TestNamespace> {
        const DEFAULTS: &str = "[cassandra]\nrequest_timeout_ms = 5000\n";
        let ranges = if changes.contains("[ranges]") {
            ""
        } else {
            "[ranges]\nbits = 6\n"
        };
        let test_config = TestConfig {
            name: format!("bench_{name}"),
            folder: self.folder.join(name),
            partitions,
            config: format!("{DEFAULTS}{ranges}{changes}{COUNTERS}"),
        };
        TestNamespace::build(&self.servers, &test_config).await
    }

    /// The same events each time, for the same keys.
    pub(crate) fn load(&self, keys: Keys) -> Result<Load> {
        Load::new(keys, 1)
    }

    /// Reports progress on standard error.
    pub(crate) fn say(&mut self, what: &str) -> Result<()> {
        let seconds = self.started.elapsed().as_secs();
        Ok(writeln!(
            io::stderr(),
            "[{}:{:02}] {what}",
            seconds / 60,
            seconds % 60
        )?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed, too; the exit code still reports the failure.
            writeln!(io::stderr(), "the benchmark failed: {error:#}").ok();
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    if let Some(baseline) = arguments.baseline {
        let measured = baseline.measure().await?;
        return Ok(writeln!(
            io::stdout(),
            "{}",
            serde_json::to_string(&measured)?
        )?);
    }
    let directory = arguments.servers.clone().unwrap_or_default();
    let folder = directory.join("measured");
    fs::create_dir_all(&folder)?;
    let sizes = if arguments.quick {
        Sizes::quick()
    } else {
        Sizes::full()
    };
    let mut bench = Bench {
        servers: Servers::read(&directory)?,
        sizes: sizes.changed(arguments.cells, arguments.records),
        folder,
        started: Instant::now(),
    };
    let mut results = Results {
        machine: stitch_harness::machine::describe()?,
        sizes: bench.sizes.clone(),
        ..Results::default()
    };
    measure(&mut bench, &arguments, &mut results).await?;
    writeln!(io::stdout(), "{}", report::markdown(&results))?;
    fs::write(
        bench.folder.join("results.json"),
        serde_json::to_string_pretty(&results)?,
    )?;
    let pictures = arguments.write.as_deref().and_then(Path::parent);
    let drawn = plot::draw(&results, pictures.unwrap_or(&bench.folder))?;
    bench.say(&format!("plots written: {}", drawn.join(", ")))?;
    if let Some(file) = &arguments.write {
        let before = fs::read_to_string(file)?;
        fs::write(file, report::published(&before, &results)?)?;
    }
    Ok(())
}

async fn measure(bench: &mut Bench, arguments: &Arguments, results: &mut Results) -> Result<()> {
    let wanted = |part: &str| arguments.parts.contains(|c| part.contains(c));
    if wanted("ab") {
        results.counting = Some(counting::measure(bench).await?);
    }
    if wanted("cd") {
        let table = Table::fill(bench, bench.sizes.table_tracks).await?;
        if wanted("c") {
            results.auditing = Some(auditing::measure(bench, &table).await?);
        }
        if wanted("d") {
            let wrong = bench.sizes.wrong();
            results.locks = Some(locks::measure(bench, &table, wrong).await?);
            results.locks_wrong = Some(locks::measure(bench, &table, wrong * 10).await?);
        }
    }
    if wanted("e") {
        let table = Table::fill(bench, bench.sizes.table_tracks * 5).await?;
        let wrong = bench.sizes.wrong();
        results.locks_large = Some(locks::measure(bench, &table, wrong).await?);
        results.locks_large_wrong = Some(locks::measure(bench, &table, wrong * 5).await?);
    }
    if wanted("f") {
        results.memory = Some(memory::measure(bench).await?);
    }
    if wanted("g") {
        let oha = arguments.oha.as_deref();
        let oha = oha.context("(g) takes --oha: the load generator's path")?;
        results.serving = Some(serving::measure(bench, oha).await?);
    }
    if wanted("h") {
        let (python, spark_submit) = arguments
            .python
            .as_deref()
            .zip(arguments.spark_submit.as_deref())
            .context("(h) takes --python and --spark-submit: the paths of DuckDB's and of Spark")?;
        let engines = Engines::new(python, spark_submit)?;
        results.totalling = Some(totalling::measure(bench, &engines).await?);
    }
    if wanted("i") {
        results.bounded = Some(bounded::measure(bench).await?);
    }
    if wanted("jm") {
        let programs = PeerPrograms {
            java: java(arguments)?,
            folder: arguments
                .peers
                .clone()
                .context("(j) and (m) take --peers: the folder of the peers")?,
        };
        if wanted("j") {
            results.peers = Some(peers::measure(bench, &programs).await?);
        }
        if wanted("m") {
            results.moves = Some(peers::moves::measure(bench, &programs).await?);
        }
    }
    if wanted("k") {
        results.loading = Some(loading::measure(bench).await?);
    }
    if wanted("l") {
        results.growth = growth::measure(bench).await?;
    }
    if wanted("n") {
        let tools = JavaTools::beside(&java(arguments)?);
        results.profiles = Some(profile::measure(bench, &tools).await?);
    }
    bench.say("done")
}

fn java(arguments: &Arguments) -> Result<PathBuf> {
    let java = arguments.java.clone();
    java.context("(j), (m) and (n) take --java: the path of Java's")
}

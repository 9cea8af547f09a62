//! The command line.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Result;
use clap::Parser;
use stitch_common::clock::{Clock, SystemClock};

use crate::explore::explore;
use crate::growth;
use crate::history::History;
use crate::run::run as run_history;
use crate::shrink::shrink;
use crate::trace::TraceLine;

/// Runs histories of the production code in a simulated world that fails, and checks every step
#[derive(Debug, Parser)]
#[command(name = "stitch-simulate", version)]
struct Arguments {
    /// How many histories
    #[arg(long, default_value_t = 10_000)]
    histories: u64,
    /// The seed of the first history; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the first history and its trace instead, without shrinking it
    #[arg(long)]
    table: bool,
    /// Remove each rule from the product instead, until its loss is found, or for this many histories
    #[cfg(feature = "mutations")]
    #[arg(long)]
    mutations: bool,
    /// Remove this rule, by its index among those that can be removed
    #[cfg(feature = "mutations")]
    #[arg(long)]
    without: Option<usize>,
    /// Count what fleets of different sizes ask of ZooKeeper instead, and print it with the laws that it follows
    #[arg(long)]
    growth: bool,
    /// The document that gets the tables of --growth; the plot is written into its folder
    #[arg(long, requires = "growth")]
    write: Option<PathBuf>,
    /// How many threads; one for each core without it
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    // A panic of the product is a finding, reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout().lock();
    match run(&Arguments::parse(), &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error may be closed, too; the exit code still reports the failure.
            writeln!(io::stderr(), "the simulation failed: {error:#}").ok();
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool> {
    if arguments.growth {
        grow(arguments.write.as_deref(), out)?;
        return Ok(true);
    }
    let prepare = || remove_rule(arguments);
    prepare();
    if arguments.table {
        return Ok(table(&History::from_seed(arguments.seed), out)?);
    }
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    #[cfg(feature = "mutations")]
    if arguments.mutations {
        let mutants = crate::mutants::run_all(arguments.seed, arguments.histories, threads, out)?;
        return Ok(mutants.iter().all(|mutant| mutant.finding.is_some()));
    }
    let began = SystemClock.now();
    let exploration = explore(arguments.seed, arguments.histories, threads, prepare);
    let took = SystemClock.now().since(began);
    exploration.coverage.write(out)?;
    let per_second = u128::from(exploration.histories) * 1000 / took.as_millis().max(1);
    writeln!(
        out,
        "\n{} histories in {:.1} s on {threads} threads: {per_second} a second",
        exploration.histories,
        took.as_secs_f64()
    )?;
    writeln!(out, "traces {:016x}", exploration.traces)?;
    let Some((seed, finding)) = exploration.finding else {
        writeln!(out, "nothing found")?;
        return Ok(true);
    };
    writeln!(out, "\nFOUND at seed {seed}: {finding}")?;
    writeln!(
        out,
        "replay: deploy/simulate --seed {seed} --histories 1 --table\n"
    )?;
    writeln!(out, "shrunk:")?;
    table(&shrink(&History::from_seed(seed)), out)?;
    Ok(false)
}

/// Measures growth, and prints or publishes it.
fn grow(document: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    let results = growth::Results::measure(|shape| {
        // Progress alone: without it everything is still measured.
        writeln!(io::stderr(), "{shape:?}").ok();
    })?;
    writeln!(out, "{}", growth::markdown(&results))?;
    let Some(file) = document else {
        return Ok(());
    };
    let before = fs::read_to_string(file)?;
    fs::write(file, growth::published(&before, &results)?)?;
    growth::draw(&results, &file.with_file_name("performance-growth.svg"))
}

/// Removes the rule that the arguments name, on this thread.
#[cfg(feature = "mutations")]
fn remove_rule(arguments: &Arguments) {
    use stitch_common::mutation::{Rule, take_out};
    take_out(
        arguments
            .without
            .and_then(|rule| Rule::EVERY.get(rule).copied()),
    );
}

#[cfg(not(feature = "mutations"))]
const fn remove_rule(_arguments: &Arguments) {}

/// Runs one history, and prints it line by line.
fn table(history: &History, out: &mut dyn Write) -> io::Result<bool> {
    writeln!(out, "{history:#?}\n")?;
    let result = run_history(history, true);
    writeln!(out, "{:>12}  {:<18} what", "ms", "who")?;
    for TraceLine {
        at, actor, text, ..
    } in &result.lines
    {
        let (ms, us) = (at / 1000, at % 1000);
        writeln!(out, "{ms:>8}.{us:03}  {:<18} {text}", actor.to_string())?;
    }
    writeln!(out, "trace {:016x}", result.hash)?;
    match &result.finding {
        Some(finding) => writeln!(out, "FOUND: {finding}")?,
        None => writeln!(out, "nothing found")?,
    }
    Ok(result.finding.is_none())
}

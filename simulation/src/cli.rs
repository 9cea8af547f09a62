//! The command line.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Parser;
use stitch_common::clock::{Clock, SystemClock};

use crate::explore::explore;
use crate::history::History;
use crate::notes::Line;
use crate::play::play;
use crate::shrink::shrink;

/// Lets histories of the production code happen in a world that fails, and looks at every step of each.
#[derive(Debug, Parser)]
#[command(name = "stitch-simulate", version)]
struct Arguments {
    /// How many histories
    #[arg(long, default_value_t = 10_000)]
    histories: u64,
    /// The first one's seed; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the first history's table instead, as it is, without making it smaller
    #[arg(long)]
    table: bool,
    /// Take each rule out of the product instead, until its loss is found, or for so many histories
    #[cfg(feature = "mutations")]
    #[arg(long)]
    mutations: bool,
    /// Take this rule out, by its place among those that can be
    #[cfg(feature = "mutations")]
    #[arg(long)]
    without: Option<usize>,
    /// On how many threads; without it, one for each core
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // A panic of the product is a finding, told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::stdout().lock();
    match run(&Arguments::parse(), &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(_) => ExitCode::from(2),
    }
}

fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<bool> {
    let prepare = || without(arguments);
    prepare();
    if arguments.table {
        return table(&History::of(arguments.seed), out);
    }
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    #[cfg(feature = "mutations")]
    if arguments.mutations {
        let mutants = crate::mutants::mutants(arguments.seed, arguments.histories, threads, out)?;
        return Ok(mutants.iter().all(|mutant| mutant.found.is_some()));
    }
    let began = SystemClock.now();
    let explored = explore(arguments.seed, arguments.histories, threads, prepare);
    let took = SystemClock.now().since(began);
    explored.coverage.write(out)?;
    let per_second = u128::from(explored.histories) * 1000 / took.as_millis().max(1);
    writeln!(
        out,
        "\n{} histories in {:.1} s on {threads} threads: {per_second} a second",
        explored.histories,
        took.as_secs_f64()
    )?;
    writeln!(out, "traces {:016x}", explored.traces)?;
    let Some((seed, finding)) = explored.found else {
        writeln!(out, "nothing found")?;
        return Ok(true);
    };
    writeln!(out, "\nFOUND at seed {seed}: {finding}")?;
    writeln!(
        out,
        "replay: deploy/simulate --seed {seed} --histories 1 --table\n"
    )?;
    writeln!(out, "made smaller:")?;
    table(&shrink(&History::of(seed)), out)?;
    Ok(false)
}

/// Takes the rule out that was asked for, on this thread.
#[cfg(feature = "mutations")]
fn without(arguments: &Arguments) {
    use stitch_common::mutation::{Rule, take_out};
    take_out(
        arguments
            .without
            .and_then(|rule| Rule::EVERY.get(rule).copied()),
    );
}

#[cfg(not(feature = "mutations"))]
const fn without(_arguments: &Arguments) {}

/// Lets one history happen, and prints it line by line.
fn table(history: &History, out: &mut dyn Write) -> io::Result<bool> {
    writeln!(out, "{history:#?}\n")?;
    let verdict = play(history, true);
    writeln!(out, "{:>12}  {:<18} what", "ms", "who")?;
    for Line { at, who, what, .. } in &verdict.table {
        let (ms, us) = (at / 1000, at % 1000);
        writeln!(out, "{ms:>8}.{us:03}  {:<18} {what}", who.to_string())?;
    }
    writeln!(out, "trace {:016x}", verdict.hash)?;
    match &verdict.finding {
        Some(finding) => writeln!(out, "FOUND: {finding}")?,
        None => writeln!(out, "nothing found")?,
    }
    Ok(verdict.finding.is_none())
}

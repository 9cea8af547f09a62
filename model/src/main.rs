//! `stitch-model`: explores one model and prints a line about it. `deploy/model` runs all of them.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_model::bounds::{Bounds, CorrectionMode};
use stitch_model::explorations::{EXPLORATIONS, Exploration, REMOVED_RULES};
use stitch_model::explore::{ExplorationResult, explore};
use stitch_model::fault::Faults;

#[derive(Parser)]
#[command(about = "Explores every history of a small Stitch")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The names of the explorations
    List,
    /// One exploration
    Run { name: String },
    /// Remove each rule, and print the property that breaks
    Rules,
    /// An exploration of your own; prints the shortest history that breaks a property
    Try {
        /// The events of each partition, each as the number of its cell: 01/2; (01) is one event in two cells
        log: String,
        /// The range of each cell: 0011
        ranges: String,
        /// The faults, and how often each may happen: "crash unknown=2"
        #[arg(long, default_value = "")]
        faults: String,
        /// The rule to remove
        #[arg(long)]
        without: Option<String>,
        /// Correct cells without a lock where possible
        #[arg(long)]
        unlocked: bool,
        /// Stop after this many states, repeated ones included
        #[arg(long)]
        steps_max: Option<usize>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match Arguments::parse().command {
        Command::List => {
            for one in EXPLORATIONS {
                writeln!(out, "{}", one.name)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { name } => {
            let one = EXPLORATIONS.iter().find(|one| one.name == name);
            let one = one.with_context(|| format!("there is no exploration \"{name}\""))?;
            run(&mut out, one)
        }
        Command::Rules => rules(&mut out),
        Command::Try {
            log,
            ranges,
            faults,
            without,
            unlocked,
            steps_max,
        } => {
            let faults = Faults::parse(&faults).map_err(anyhow::Error::msg)?;
            let mut bounds = Bounds::new(&log, &ranges).with(faults);
            if let Some(name) = without {
                let rule = REMOVED_RULES
                    .iter()
                    .find(|removed| format!("{:?}", removed.rule) == name);
                bounds = bounds.without(rule.context("there is no such rule")?.rule);
            }
            if unlocked {
                bounds = bounds.corrected(CorrectionMode::Both);
            }
            let began = SystemClock.now();
            let result = explore(&bounds, threads(), steps_max);
            print_line(&mut out, &result, began)?;
            print_broken(&mut out, &result)
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run(out: &mut impl Write, one: &Exploration) -> anyhow::Result<ExitCode> {
    let bounds = one.bounds();
    write!(
        out,
        "| {} | `{}` in `{}` | {} |",
        one.name, one.log, one.ranges, bounds.faults
    )?;
    let began = SystemClock.now();
    let result = explore(&bounds, threads(), one.steps_max);
    print_line(out, &result, began)?;
    print_broken(out, &result)
}

/// Prints states, depth, seconds, memory, and whether the search was complete.
fn print_line(out: &mut impl Write, result: &ExplorationResult, began: Moment) -> io::Result<()> {
    let seconds = SystemClock.now().since(began).as_secs_f64();
    let extent = if result.complete {
        "to the end"
    } else {
        "bounded"
    };
    let ExplorationResult { states, depth, .. } = result;
    let memory = peak_mib().unwrap_or_default();
    writeln!(
        out,
        " {states} | {depth} | {seconds:.0} | {memory} | {extent} |"
    )
}

fn print_broken(out: &mut impl Write, result: &ExplorationResult) -> anyhow::Result<ExitCode> {
    if let Some((property, history)) = &result.broken {
        writeln!(out, "\nBROKEN: {property}\n{history}")?;
        return Ok(ExitCode::from(1));
    }
    if result.complete && !result.ends {
        writeln!(out, "\nBROKEN: no restoration ends in any history")?;
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

fn rules(out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for removed in REMOVED_RULES {
        let result = explore(&removed.bounds(), threads(), None);
        let found = result.broken.as_ref();
        let found = found.map_or("nothing", |(property, _)| *property);
        let steps = found_steps(&result);
        writeln!(
            out,
            "| {:?} | {found} | {steps} | {} |",
            removed.rule, result.states
        )?;
        if result.broken.is_none() == removed.is_found {
            code = ExitCode::from(1);
        }
    }
    Ok(code)
}

fn found_steps(result: &ExplorationResult) -> usize {
    let history = result.broken.as_ref();
    history.map_or(0, |(_, history)| history.lines().count().saturating_sub(1))
}

/// The peak memory of this process, on Linux.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}

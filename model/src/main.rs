//! Explores one model and prints a line about it; `deploy/model` runs all that are told of in `docs/verification.md`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_model::bounds::{Bounds, Way};
use stitch_model::explore::{Explored, explore};
use stitch_model::fault::Faults;
use stitch_model::known::{EXPLORATIONS, Exploration, LOSSES};

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
    /// Every rule is taken out, and what is found then
    Rules,
    /// An exploration of your own; prints the shortest history that breaks anything
    Try {
        /// Events by partition, each the number of its cell: 01/2; (01) is one event in two cells
        log: String,
        /// The range of each cell: 0011
        ranges: String,
        /// What may go wrong, and how often: "crash unknown=2"
        #[arg(long, default_value = "")]
        faults: String,
        /// The rule that is taken out
        #[arg(long)]
        without: Option<String>,
        /// Correct without a lock what can be
        #[arg(long)]
        unlocked: bool,
        /// Stop after so many states, those met again counted again
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
                let rule = LOSSES
                    .iter()
                    .find(|loss| format!("{:?}", loss.rule) == name);
                bounds = bounds.without(rule.context("there is no such rule")?.rule);
            }
            if unlocked {
                bounds = bounds.corrected(Way::Both);
            }
            let began = SystemClock.now();
            let explored = explore(&bounds, threads(), steps_max);
            tell(&mut out, &explored, began)?;
            told(&mut out, &explored)
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
    let explored = explore(&bounds, threads(), one.steps_max);
    tell(out, &explored, began)?;
    told(out, &explored)
}

/// States, depth, seconds, memory, and whether that was all.
fn tell(out: &mut impl Write, explored: &Explored, began: Moment) -> io::Result<()> {
    let seconds = SystemClock.now().since(began).as_secs_f64();
    let extent = if explored.whole {
        "to the end"
    } else {
        "bounded"
    };
    let Explored { states, depth, .. } = explored;
    let memory = peak_mib().unwrap_or_default();
    writeln!(
        out,
        " {states} | {depth} | {seconds:.0} | {memory} | {extent} |"
    )
}

fn told(out: &mut impl Write, explored: &Explored) -> anyhow::Result<ExitCode> {
    if let Some((property, history)) = &explored.broken {
        writeln!(out, "\nBROKEN: {property}\n{history}")?;
        return Ok(ExitCode::from(1));
    }
    if explored.whole && !explored.ends {
        writeln!(out, "\nBROKEN: no restoration ends in any history")?;
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

fn rules(out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for loss in LOSSES {
        let explored = explore(&loss.bounds(), threads(), None);
        let found = explored.broken.as_ref();
        let found = found.map_or("nothing", |(property, _)| *property);
        let steps = found_steps(&explored);
        writeln!(
            out,
            "| {:?} | {found} | {steps} | {} |",
            loss.rule, explored.states
        )?;
        if explored.broken.is_none() == loss.is_found {
            code = ExitCode::from(1);
        }
    }
    Ok(code)
}

fn found_steps(explored: &Explored) -> usize {
    let history = explored.broken.as_ref();
    history.map_or(0, |(_, history)| history.lines().count().saturating_sub(1))
}

/// The most memory that this process has had, as Linux tells it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}

//! Mutation testing: the product without one of its rules. The loss of each rule must be found.

use std::io::{self, Write};

use stitch_common::mutation::{Rule, take_out};

use crate::explore::explore_only;
use crate::history::History;
use crate::world::checker::Finding;

/// The result of removing one rule.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub rule: Rule,
    /// The seed at which its loss was found, after how many histories, and the violation.
    pub finding: Option<(u64, u64, Finding)>,
}

/// Removes each rule by itself and runs at most `count` histories from `seed` on. Writes a table to `out`.
pub fn run_all(
    seed: u64,
    count: u64,
    threads: usize,
    out: &mut dyn Write,
) -> io::Result<Vec<Mutant>> {
    let mut all = Vec::new();
    writeln!(
        out,
        "| rule | what was removed | how it showed | after histories |\n|---|---|---|---|"
    )?;
    for &rule in Rule::EVERY {
        let mutant = run_one(rule, seed, count, threads);
        let (shown, after) = match &mutant.finding {
            Some((_, after, finding)) => (finding.kind.to_string(), after.to_string()),
            None => ("nothing".to_owned(), format!("more than {count}")),
        };
        writeln!(
            out,
            "| {} | {} | {shown} | {after} |",
            rule.number(),
            rule.loss()
        )?;
        out.flush()?;
        all.push(mutant);
    }
    Ok(all)
}

/// Whether the code that has the rule runs in a history: no other one can show its loss.
fn is_exercised(rule: Rule, history: &History) -> bool {
    match rule.number() {
        "archive" => history.archivers > 0 || history.totals,
        "totals" => history.totals,
        "batch" => !history.batch.is_empty(),
        _ => true,
    }
}

/// Removes one rule.
pub fn run_one(rule: Rule, seed: u64, count: u64, threads: usize) -> Mutant {
    let only = |history: &History| is_exercised(rule, history);
    let exploration = explore_only(only, seed, count, threads, || take_out(Some(rule)));
    let finding = exploration
        .finding
        .map(|(at, finding)| (at, at - seed + 1, finding));
    Mutant { rule, finding }
}

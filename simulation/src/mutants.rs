//! The product without one of its rules: each loss must be found, or nobody would notice it.

use std::io::{self, Write};

use stitch_common::mutation::{Rule, take_out};

use crate::checker::Finding;
use crate::explore::explore;

/// What came of taking one rule out.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Which rule.
    pub rule: Rule,
    /// The seed at which its loss was found, after how many histories, and what was found.
    pub found: Option<(u64, u64, Finding)>,
}

/// Takes each rule out by itself, and lets at most `count` histories from `seed` on happen.
///
/// # Errors
/// `out`, which is told each of them at once, fails.
pub fn mutants(
    seed: u64,
    count: u64,
    threads: usize,
    out: &mut dyn Write,
) -> io::Result<Vec<Mutant>> {
    let mut all = Vec::new();
    writeln!(
        out,
        "| rule | taken out | found | after histories |\n|---|---|---|---|"
    )?;
    for &rule in Rule::EVERY {
        let mutant = one(rule, seed, count, threads);
        let (found, after) = match &mutant.found {
            Some((_, after, finding)) => (finding.kind.to_string(), after.to_string()),
            None => ("nothing".to_owned(), format!("more than {count}")),
        };
        writeln!(
            out,
            "| {} | {} | {found} | {after} |",
            rule.number(),
            rule.loss()
        )?;
        out.flush()?;
        all.push(mutant);
    }
    Ok(all)
}

/// Takes one rule out.
#[must_use]
pub fn one(rule: Rule, seed: u64, count: u64, threads: usize) -> Mutant {
    let explored = explore(seed, count, threads, || take_out(Some(rule)));
    let found = explored
        .found
        .map(|(at, finding)| (at, at - seed + 1, finding));
    Mutant { rule, found }
}

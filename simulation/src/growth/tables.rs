//! The tables, as printed and as published.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::law::{Law, QUANTITIES};
use super::phases::{Growth, Requests};
use super::results::Results;

/// The lines of the document between which the tables are.
const BEGIN: &str = "<!-- growth: written by deploy/simulate --growth --write -->";
const END: &str = "<!-- end of growth -->";
const PLOT: &str = "![requests to ZooKeeper by the size of the fleet](performance-growth.svg)";

/// The document with these tables in place of earlier ones.
///
/// # Errors
/// It has no place for them.
pub fn published(document: &str, results: &Results) -> Result<String> {
    let missing = || format!("the document has no line `{BEGIN}` followed by `{END}`");
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    let tables = markdown(results);
    Ok(format!(
        "{before}{BEGIN}\n\n{tables}\n{PLOT}\n\n{END}{after}"
    ))
}

/// All tables.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut text = String::new();
    let mut table = |head: &str, rows: Vec<String>| {
        let columns = head.matches('|').count() - 1;
        let rule = "|---".repeat(columns);
        let rows = rows.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        writeln!(text, "{head}\n{rule}|\n{rows}").expect("text grows");
    };
    table(
        "| processors | partitions | ranges | start: writes, reads, MiB read | at rest: writes, reads a second | \
         counting: writes, reads, KiB written a second | rebalance: writes, reads | \
         restoration: writes, reads, watches fired, KiB written |",
        results.growths.iter().map(growth_row).collect(),
    );
    let laws = QUANTITIES.iter().map(|one| one.law(&results.growths));
    table(
        "| ZooKeeper | law | largest deviation |",
        laws.map(|law| law_row(&law)).collect(),
    );
    text
}

fn growth_row(growth: &Growth) -> String {
    let Growth {
        shape,
        start,
        rest,
        rebalance,
        restoration,
        steady,
    } = growth;
    let both = |of: &Requests| format!("{}, {}", thousands(of.writes), thousands(of.reads));
    format!(
        "| {} | {} | {} | {}, {:.1} | {:.1}, {:.1} | {}, {} | {} | {}, {}, {} |",
        shape.processors,
        thousands(number(shape.partitions)),
        thousands(number(shape.ranges())),
        both(start),
        start.kib_read / 1024.0,
        rest.writes,
        rest.reads,
        both(steady),
        thousands(steady.kib_written),
        both(rebalance),
        both(&restoration.requests),
        thousands(restoration.requests.notifications),
        thousands(restoration.requests.kib_written),
    )
}

const fn number(size: usize) -> f64 {
    size as f64
}

fn law_row(law: &Law) -> String {
    let term = |(name, factor): &(&str, f64)| {
        let factor = significant(*factor);
        if *name == "1" {
            factor
        } else {
            format!("{factor} × {name}")
        }
    };
    let terms: Vec<String> = law.terms.iter().map(term).collect();
    let deviation = law.deviation * 100.0;
    format!(
        "| {} | {} | {deviation:.0} % |",
        law.name,
        terms.join(" + ")
    )
}

/// Three digits, or as many as stand before the point.
fn significant(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => thousands(number),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 0.01 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

/// A whole number with commas between its thousands.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_replace_those_of_the_document_and_nothing_else() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let results = Results::default();
        let once = published(&document, &results).unwrap();
        let tables = markdown(&results);
        assert_eq!(
            once,
            format!("before\n{BEGIN}\n\n{tables}\n{PLOT}\n\n{END}\nafter\n")
        );
        assert_eq!(published(&once, &results).unwrap(), once);
        assert!(published("nothing", &results).is_err());
    }
}

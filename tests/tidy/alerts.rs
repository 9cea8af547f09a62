//! Alerts and dashboards agree with the metrics and with the pages that explain them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::tree::{none, read};

const RULES: &str = "deploy/alerts/stitch.yaml";
const TESTS: &str = "deploy/alerts/stitch.test.yaml";

/// One rule: its lines.
struct Alert<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

impl Alert<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        let start = format!("{key}: ");
        let mut lines = self.lines.iter();
        lines.find_map(|line| line.trim_start().strip_prefix(&start))
    }
}

/// The rules of a file, each from its line `- alert:` on.
fn alerts(text: &str) -> Vec<Alert<'_>> {
    let mut alerts: Vec<Alert<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.trim_start().strip_prefix("- alert: ") {
            alerts.push(Alert {
                name,
                lines: Vec::new(),
            });
        } else if let Some(alert) = alerts.last_mut() {
            alert.lines.push(line);
        }
    }
    alerts
}

/// How a heading is named in an address: GitHub's rule.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let text = heading.to_lowercase();
    text.chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| anchor(heading.trim()))
    });
    headings.collect()
}

/// The metrics that a text names anywhere.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("stitch_")).collect()
}

/// The metrics of a text that the page of metrics does not explain; of a histogram there are three series.
fn unexplained<'a>(text: &'a str, page: &str) -> Vec<&'a str> {
    let is_explained = |name: &str| {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        [Some(name), base]
            .into_iter()
            .flatten()
            .any(|name| page.contains(&format!("| `{name}` |")))
    };
    let mut names = metrics_in(text);
    names.retain(|name| !is_explained(name));
    names.into_iter().collect()
}

#[test]
fn every_alert_has_a_severity_a_summary_and_a_section_that_exists() -> Result<()> {
    let rules = read(RULES)?;
    let alerts = alerts(&rules);
    ensure!(alerts.len() > 10, "{RULES} has {} alerts", alerts.len());
    let mut found = Vec::new();
    for alert in &alerts {
        let name = alert.name;
        let severity = alert.value("labels").unwrap_or_default();
        if !["{severity: critical}", "{severity: warning}"].contains(&severity) {
            found.push(format!("{name}: {severity} is no severity"));
        }
        for key in ["summary", "description"] {
            if alert.value(key).is_none() {
                found.push(format!("{name} has no {key}"));
            }
        }
        let url = alert.value("runbook_url").unwrap_or_default();
        let (page, section) = url.split_once('#').unwrap_or((url, ""));
        let exists = read(page).is_ok_and(|page| anchors(&page).contains(section));
        if !exists {
            found.push(format!("{name}: {url} does not exist"));
        }
    }
    none(found, "an alert says how urgent it is, and what to do");
    Ok(())
}

#[test]
fn every_alert_is_tested_when_it_fires_and_when_not() -> Result<()> {
    let (rules, tests) = (read(RULES)?, read(TESTS)?);
    let moments: Vec<&str> = tests.split("- eval_time: ").skip(1).collect();
    let mut found = Vec::new();
    for alert in alerts(&rules) {
        let name = format!("alertname: {}\n", alert.name);
        let of_alert = || moments.iter().filter(|moment| moment.contains(&name));
        if !of_alert().any(|moment| moment.contains("exp_labels: {")) {
            found.push(format!("{} never fires", alert.name));
        }
        if !of_alert().any(|moment| moment.contains("exp_alerts: []")) {
            found.push(format!("{} always fires", alert.name));
        }
    }
    none(found, &format!("{TESTS} shows both of each alert"));
    Ok(())
}

#[test]
fn every_section_about_an_alert_is_of_an_alert_that_exists() -> Result<()> {
    let (rules, page) = (read(RULES)?, read("docs/operations/alerts.md")?);
    let names: BTreeSet<&str> = alerts(&rules).iter().map(|alert| alert.name).collect();
    let sections = page.lines().filter_map(|line| line.strip_prefix("### "));
    let found = sections.filter(|section| !names.contains(section));
    none(
        found.map(str::to_owned).collect(),
        "docs/operations/alerts.md explains the alerts that there are",
    );
    Ok(())
}

#[test]
fn alerts_use_metrics_that_exist() -> Result<()> {
    let page = read("docs/operations/metrics.md")?;
    let mut found = Vec::new();
    for path in [RULES, TESTS, "deploy/dashboards/generate"] {
        let text = read(path)?;
        let names = unexplained(&text, &page).into_iter();
        found.extend(names.map(|name| format!("{path}: {name}")));
    }
    none(
        found,
        "docs/operations/metrics.md explains every metric that is used",
    );
    Ok(())
}

#[test]
fn an_anchor_and_a_metric_that_are_gone_are_found() -> Result<()> {
    assert_eq!(
        anchor("Kafka has deleted, what was-not"),
        "kafka-has-deleted-what-was-not"
    );
    let page = "| `stitch_a_total` | counter |\n| `stitch_b_seconds` | histogram |";
    let text = "rate(stitch_a_total[5m]) + stitch_b_seconds_bucket{le=\"1\"} - stitch_c_total";
    assert_eq!(unexplained(text, page), ["stitch_c_total"]);
    let rules = "- alert: A\n  labels: {severity: critical}\n- alert: B\n";
    let alerts = alerts(rules);
    let first = alerts.first().context("two alerts")?;
    assert_eq!(first.value("labels"), Some("{severity: critical}"));
    assert_eq!(alerts.len(), 2);
    Ok(())
}

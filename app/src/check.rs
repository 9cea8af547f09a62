//! `check`: are the three servers within reach, and set as they must be? One finding a thing, with the way out.
//! Changes nothing.

mod cassandra;
mod kafka;
mod replicas;
mod zookeeper;

use std::io::{self, Write};

use serde::Serialize;

use stitch_cassandra::ScyllaCql;
use stitch_common::answer::{Exit, Report};
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::user_error::Failure;
use stitch_kafka::KafkaLog;
use stitch_protocol::namespace::{self, Error};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
    #[serde(skip)]
    failure: Option<Failure>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    verdict: Verdict,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    way_out: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Wrong,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Wrong => "wrong",
        }
    }
}

impl Findings {
    fn ok(&mut self, what: impl Into<String>) {
        self.find(Verdict::Ok, what.into(), None);
    }

    fn warn(&mut self, what: impl Into<String>, way_out: impl Into<String>) {
        self.find(Verdict::Warn, what.into(), Some(way_out.into()));
    }

    fn wrong(&mut self, what: impl Into<String>, way_out: impl Into<String>) {
        self.find(Verdict::Wrong, what.into(), Some(way_out.into()));
    }

    fn failed(&mut self, failure: impl Into<Failure>) {
        let failure = failure.into();
        self.wrong(failure.what, failure.way_out);
    }

    fn find(&mut self, verdict: Verdict, what: String, way_out: Option<String>) {
        self.findings.push(Finding {
            verdict,
            what,
            way_out,
        });
    }

    fn append(&mut self, others: Self) {
        self.findings.extend(others.findings);
    }

    fn wrongs(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.verdict == Verdict::Wrong)
    }

    /// Sums up what is wrong.
    fn closed(mut self) -> Self {
        let several = self.wrongs().count();
        let failure = self.wrongs().next().map(|first| match several {
            1 => Failure::new(&first.what, first.way_out.as_deref().unwrap_or_default()),
            _ => Failure::new(
                format!("{several} things are wrong, the first: {}", first.what),
                "follow the way out of each finding",
            ),
        });
        self.failure = failure;
        self
    }
}

/// Looks at everything that a processor and a restorator need.
pub async fn check(config: &Config) -> Findings {
    let mut findings = Findings::default();
    findings.ok(format!(
        "configuration: namespace \"{}\", {} counters, {} ranges",
        config.namespace,
        config.definitions.counters.len(),
        config.definitions.range_bits.count()
    ));
    let cql = ScyllaCql::new(config, SystemClock);
    let log = KafkaLog::new(&config.kafka);
    let (zookeeper, cassandra, kafka) = tokio::join!(
        zookeeper::check(config),
        cassandra::check(config, &cql),
        kafka::check(config, log.as_ref()),
    );
    let (in_zookeeper, seen) = zookeeper;
    let (in_cassandra, settings) = cassandra;
    findings.append(in_zookeeper);
    findings.append(in_cassandra);
    findings.append(kafka);
    if let (Some(seen), Some(settings)) = (&seen, &settings) {
        findings.append(cassandra::calm(
            config,
            seen.session_timeout_longest,
            settings,
        ));
    }
    if let (Some(seen), Ok(log)) = (&seen, &log)
        && seen.is_initialised
    {
        agreement(config, seen, &cql, log, &mut findings).await;
    }
    if let Some(seen) = seen {
        seen.close().await;
    }
    findings.closed()
}

async fn agreement(
    config: &Config,
    seen: &zookeeper::Seen,
    cql: &ScyllaCql<SystemClock>,
    log: &KafkaLog,
    findings: &mut Findings,
) {
    match namespace::agree(&seen.coordinator, cql, log, config).await {
        Ok(agreement) if agreement.trimmed.is_empty() => {
            findings.ok("namespace: definitions, log and table agree with this configuration");
        }
        Ok(agreement) => {
            let partitions: Vec<_> = agreement.trimmed.iter().map(ToString::to_string).collect();
            findings.wrong(
                format!(
                    "namespace: the log has lost the beginning of the partitions {}",
                    partitions.join(" ")
                ),
                "what they add up to cannot be told any more: bring the records back, or start a new namespace; keep the \
                 next log without retention",
            );
        }
        Err(Error::Disagreement(failure)) => findings.failed(failure),
        // These servers have findings of their own.
        Err(error @ (Error::Coordination(_) | Error::Log(_) | Error::Store(_))) => {
            let failure = Failure::from(error);
            findings.wrong(format!("namespace: {}", failure.what), failure.way_out);
        }
    }
}

impl Report for Findings {
    fn outcome(&self) -> &'static str {
        match self.failure {
            None => "ok",
            Some(_) => "wrong",
        }
    }

    fn exit(&self) -> Exit {
        match self.failure {
            None => Exit::Well,
            Some(_) => Exit::Failed,
        }
    }

    fn error(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in &self.findings {
            let verdict = finding.verdict.name();
            match &finding.way_out {
                None => writeln!(out, "{verdict:<5}  {}", finding.what)?,
                Some(way_out) => writeln!(out, "{verdict:<5}  {}  — {way_out}", finding.what)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_and_only_what_is_wrong_fails() {
        let mut findings = Findings::default();
        findings.ok("a");
        findings.warn("b", "do c");
        let findings = findings.closed();
        assert_eq!((findings.outcome(), findings.exit()), ("ok", Exit::Well));
        let mut out = Vec::new();
        findings.text(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok     a\nwarn   b  — do c\n"
        );
        let mut findings = findings;
        findings.wrong("d", "do e");
        let findings = findings.closed();
        assert_eq!(
            (findings.outcome(), findings.exit()),
            ("wrong", Exit::Failed)
        );
        assert_eq!(findings.error().unwrap().what, "d");
    }
}

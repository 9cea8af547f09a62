//! `check`: are the three servers within reach, and set as they must be? One finding a thing, with the way out.
//! Changes nothing.

mod cassandra;
mod kafka;
mod replicas;
mod zookeeper;

use std::io::{self, Write};

use serde::Serialize;

use stitch_cassandra::ScyllaCql;
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_kafka::KafkaLog;
use stitch_protocol::namespace::{self, Error};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
    #[serde(skip)]
    failure: Option<UserError>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    verdict: Verdict,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
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
    fn ok(&mut self, message: impl Into<String>) {
        self.find(Verdict::Ok, message.into(), None);
    }

    fn warn(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.find(Verdict::Warn, message.into(), Some(help.into()));
    }

    fn wrong(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.find(Verdict::Wrong, message.into(), Some(help.into()));
    }

    fn failed(&mut self, failure: impl Into<UserError>) {
        let failure = failure.into();
        self.wrong(failure.message, failure.help);
    }

    fn find(&mut self, verdict: Verdict, message: String, help: Option<String>) {
        self.findings.push(Finding {
            verdict,
            message,
            help,
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
            1 => UserError::new(&first.message, first.help.as_deref().unwrap_or_default()),
            _ => UserError::new(
                format!("{several} things are wrong, the first: {}", first.message),
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
    match namespace::validate(&seen.session, cql, log, config).await {
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
            let failure = UserError::from(error);
            findings.wrong(format!("namespace: {}", failure.message), failure.help);
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
            None => Exit::Success,
            Some(_) => Exit::Failed,
        }
    }

    fn error(&self) -> Option<&UserError> {
        self.failure.as_ref()
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in &self.findings {
            let verdict = finding.verdict.name();
            match &finding.help {
                None => writeln!(out, "{verdict:<5}  {}", finding.message)?,
                Some(help) => writeln!(out, "{verdict:<5}  {}  — {help}", finding.message)?,
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
        assert_eq!((findings.outcome(), findings.exit()), ("ok", Exit::Success));
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
        assert_eq!(findings.error().unwrap().message, "d");
    }
}

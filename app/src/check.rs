//! `check`: checks the configuration and the three servers. One finding for each property, with help. Changes nothing.

mod batch;
mod cassandra;
mod kafka;
mod replicas;
mod security;
mod speculative_retry;
mod zookeeper;

use std::io::{self, Write};

use serde::Serialize;

use stitch_cassandra::ScyllaCql;
use stitch_common::clock::SystemClock;
use stitch_common::offset::Partition;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::KafkaLog;
use stitch_protocol::namespace::{self, Error};

/// The report of `check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
    #[serde(skip)]
    failure: Option<UserError>,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    verdict: Verdict,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

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
                "follow the help of each finding",
            ),
        });
        self.failure = failure;
        self
    }
}

/// What a program needs the servers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Counting and restoring: it reads and writes.
    Counting,
    /// Serving counts: it only reads.
    Reading,
}

/// Checks everything that a program with these needs needs.
pub async fn check(config: &Config, needs: Needs) -> Findings {
    let mut findings = Findings::default();
    findings.ok(format!(
        "configuration: namespace \"{}\", {} counters, {} ranges",
        config.namespace,
        config.definitions.counters.len(),
        config.definitions.range_bits.count()
    ));
    if !config.batch.realtime {
        return in_batch(config, needs, findings).await;
    }
    let cql = ScyllaCql::new(config, SystemClock);
    let log = KafkaLog::new(&config.kafka);
    let (zookeeper, cassandra, kafka, batch) = tokio::join!(
        Box::pin(zookeeper::check(config, needs)),
        Box::pin(cassandra::check(config, &cql, needs)),
        kafka::check(config, log.as_ref()),
        batch::check(config),
    );
    let (zookeeper, session) = zookeeper;
    let (cassandra, settings) = cassandra;
    findings.append(zookeeper);
    findings.append(cassandra);
    findings.append(kafka);
    findings.append(batch);
    if let (Some(session), Some(settings)) = (&session, &settings) {
        findings.append(cassandra::quiescence(
            config,
            session.longest_timeout,
            settings,
        ));
    }
    if let (Some(session), Ok(log)) = (&session, &log)
        && session.is_initialised
    {
        agreement(config, session, &cql, log, &mut findings).await;
    }
    if let Some(session) = session {
        session.close().await;
    }
    findings.closed()
}

/// Checks what a namespace needs that is purely in batch: no table of counts, and nothing that a barrier depends on.
async fn in_batch(config: &Config, needs: Needs, mut findings: Findings) -> Findings {
    let log = KafkaLog::new(&config.kafka);
    let (zookeeper, batch, kafka) = tokio::join!(
        Box::pin(zookeeper::check(config, needs)),
        batch::check(config),
        kafka::check(config, log.as_ref()),
    );
    let (zookeeper, session) = zookeeper;
    for found in [zookeeper, batch, kafka] {
        findings.append(found);
    }
    if let Some(session) = session {
        session.close().await;
    }
    findings.closed()
}

async fn agreement(
    config: &Config,
    session: &zookeeper::CheckSession,
    cql: &ScyllaCql<SystemClock>,
    log: &KafkaLog,
    findings: &mut Findings,
) {
    match namespace::validate(&session.session, cql, log, config).await {
        Ok(agreement) if agreement.trimmed.is_empty() => {
            findings.ok("namespace: definitions, log and table agree with this configuration");
        }
        Ok(agreement) => {
            let is_archived = config.archive.url.is_some();
            lost_beginning(&agreement.trimmed, is_archived, findings);
        }
        Err(Error::Mismatch(failure)) => findings.failed(failure),
        // These servers have findings of their own.
        Err(error @ (Error::Coordination(_) | Error::Log(_) | Error::Store(_))) => {
            let failure = UserError::from(error);
            findings.wrong(format!("namespace: {}", failure.message), failure.help);
        }
    }
}

/// The log no longer has what was counted first. Whether archive and totals have it, their own programs say.
fn lost_beginning(trimmed: &[Partition], is_archived: bool, findings: &mut Findings) {
    let partitions: Vec<_> = trimmed.iter().map(ToString::to_string).collect();
    let message = format!(
        "namespace: definitions and table agree with this configuration; the log has lost the beginning of the partitions {}",
        partitions.join(" ")
    );
    if is_archived {
        findings.ok(format!(
            "{message}, and an archive is configured: `stitch-archive verify` says whether it is whole"
        ));
    } else {
        findings.warn(
            message,
            "counts can be audited and restored as long as totals have what is gone: `stitch-totals list` shows them; keep \
             an archive ([archive] url), or the log without a retention limit",
        );
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
    fn a_warning_is_reported_and_only_wrong_findings_fail() {
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

    #[test]
    fn a_log_that_lost_its_beginning_is_no_failure_where_totals_or_an_archive_may_have_it() {
        let verdict = |is_archived: bool| {
            let mut findings = Findings::default();
            lost_beginning(&[Partition(0), Partition(7)], is_archived, &mut findings);
            let [finding] = findings.findings.try_into().unwrap();
            assert!(
                finding.message.contains("the partitions 0 7"),
                "{finding:?}"
            );
            finding.verdict
        };
        assert_eq!(verdict(true), Verdict::Ok);
        assert_eq!(verdict(false), Verdict::Warn);
    }
}

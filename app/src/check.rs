//! `check`: checks the configuration, and what one program needs of each server. One finding for each property, with help.
//! Changes nothing. What a program needs beside the three servers it checks itself, and hands over.

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
    /// This is as it should be.
    pub fn ok(&mut self, message: impl Into<String>) {
        self.find(Verdict::Ok, message.into(), None);
    }

    /// This works, and should be otherwise.
    pub fn warn(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.find(Verdict::Warn, message.into(), Some(help.into()));
    }

    /// The program cannot do its work.
    pub fn wrong(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.find(Verdict::Wrong, message.into(), Some(help.into()));
    }

    fn failed(&mut self, failure: impl Into<UserError>) {
        let failure = failure.into();
        self.wrong(failure.message, failure.help);
    }

    /// What `subject` needs failed.
    pub fn failed_for(&mut self, subject: &str, failure: impl Into<UserError>) {
        let failure = failure.into();
        self.wrong(format!("{subject}: {}", failure.message), failure.help);
    }

    fn find(&mut self, verdict: Verdict, message: String, help: Option<String>) {
        self.findings.push(Finding {
            verdict,
            message,
            help,
        });
    }

    /// Adds the findings of another check.
    pub fn append(&mut self, others: Self) {
        self.findings.extend(others.findings);
    }

    fn wrongs(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.verdict == Verdict::Wrong)
    }

    /// Sums up what is wrong; nothing may be added afterwards.
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
    /// Counting: it is a member of the group, and reads and writes counts.
    Counting,
    /// Restoring: it reads and writes counts.
    Restoring,
    /// Serving counts: it only reads.
    Reading,
    /// Copying the topic: it needs Kafka alone.
    Archiving,
    /// Adding up the topic: it needs no table.
    Totals,
    /// Adding up the topic, and loading batch counts.
    Batch,
}

impl Needs {
    const fn zookeeper(self) -> bool {
        match self {
            Self::Archiving => false,
            Self::Counting | Self::Restoring | Self::Reading | Self::Totals | Self::Batch => true,
        }
    }

    /// Whether it changes nodes of the namespace.
    const fn changes_nodes(self) -> bool {
        match self {
            Self::Counting | Self::Restoring | Self::Batch => true,
            Self::Reading | Self::Archiving | Self::Totals => false,
        }
    }

    /// Whether it uses the table of real-time counts.
    const fn counts(self) -> bool {
        match self {
            Self::Counting | Self::Restoring | Self::Reading => true,
            Self::Archiving | Self::Totals | Self::Batch => false,
        }
    }

    const fn increments(self) -> bool {
        match self {
            Self::Counting | Self::Restoring => true,
            Self::Reading | Self::Archiving | Self::Totals | Self::Batch => false,
        }
    }

    /// Whether it uses the table of batch counts.
    const fn batch_counts(self) -> bool {
        match self {
            Self::Counting | Self::Reading | Self::Batch => true,
            Self::Restoring | Self::Archiving | Self::Totals => false,
        }
    }

    /// Whether it asks what the group of processors has committed.
    const fn asks_group(self) -> bool {
        match self {
            Self::Counting | Self::Restoring | Self::Reading => true,
            Self::Archiving | Self::Totals | Self::Batch => false,
        }
    }
}

/// Checks everything that a program with these needs needs of the servers; `own` is what it has checked itself.
pub async fn check(config: &Config, needs: Needs, own: Findings) -> Findings {
    let mut findings = Findings::default();
    findings.ok(format!(
        "configuration: namespace \"{}\", {} counters, {} ranges",
        config.namespace,
        config.definitions.counters.len(),
        config.definitions.range_bits.count()
    ));
    let cql = ScyllaCql::new(config, SystemClock);
    let log = KafkaLog::new(&config.kafka);
    // A namespace that is purely in batch has no table of counts, and nothing that a barrier depends on.
    let counts = needs.counts() && config.batch.realtime;
    let zookeeper = async {
        match needs.zookeeper() {
            true => zookeeper::check(config, needs).await,
            false => (Findings::default(), None),
        }
    };
    let cassandra = async {
        match counts {
            true => cassandra::check(config, &cql, needs).await,
            false => (Findings::default(), None),
        }
    };
    let (zookeeper, cassandra, kafka, batch) = tokio::join!(
        Box::pin(zookeeper),
        Box::pin(cassandra),
        Box::pin(kafka::check(config, log.as_ref(), needs)),
        Box::pin(batch::check(config, needs)),
    );
    let (zookeeper, session) = zookeeper;
    let (cassandra, settings) = cassandra;
    for found in [zookeeper, cassandra, kafka, batch, own] {
        findings.append(found);
    }
    if let (Some(session), Some(settings)) = (&session, &settings) {
        findings.append(cassandra::quiescence(
            config,
            session.longest_timeout,
            settings,
        ));
    }
    if let (Some(session), Ok(log)) = (&session, &log)
        && session.is_initialised
        && counts
    {
        agreement(config, session, &cql, log, &mut findings).await;
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

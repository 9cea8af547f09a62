//! The report of `init`.

use std::io::{self, Write};

use serde::Serialize;

use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_protocol::namespace::Mismatch;

/// The report of `init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InitReport {
    namespace: String,
    /// The objects of the namespace, in the order in which they were checked or created.
    steps: Vec<Step>,
    /// How the configuration differs from the namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    /// The statement that creates the missing keyspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
    #[serde(skip)]
    outcome: Outcome,
}

/// One object of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    what: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Differs(UserError),
    KeyspaceMissing(UserError),
}

const AGREES: &str = "agrees";
const CREATED: &str = "created";
const UPDATED: &str = "updated";
const OPEN: &str = "open";

impl InitReport {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            namespace: config.namespace.clone(),
            steps: Vec::new(),
            differences: Vec::new(),
            statement: None,
            outcome: Outcome::Done,
        }
    }

    pub(super) fn agrees(&mut self, what: impl Into<String>) {
        self.step(what, AGREES);
    }

    pub(super) fn created(&mut self, what: impl Into<String>) {
        self.step(what, CREATED);
    }

    pub(super) fn updated(&mut self, what: impl Into<String>) {
        self.step(what, UPDATED);
    }

    /// Something that others than this fleet may change.
    pub(super) fn open(&mut self, what: impl Into<String>) {
        self.step(what, OPEN);
    }

    fn step(&mut self, what: impl Into<String>, state: &'static str) {
        let what = what.into();
        tracing::info!(what, state, "initialising");
        match self.steps.iter_mut().find(|step| step.what == what) {
            // What it has created agrees when it is tried again.
            Some(_) if state == AGREES => {}
            Some(step) => step.state = state,
            None => self.steps.push(Step { what, state }),
        }
    }

    pub(super) fn differs(&mut self, config: &Config, difference: Mismatch) {
        self.outcome = Outcome::Differs(difference.user_error(config));
        self.differences = difference.lines;
    }

    pub(super) fn keyspace_missing(&mut self, keyspace: &str, statement: String) {
        let what = format!("there is no keyspace \"{keyspace}\" in Cassandra");
        let help = "run the statement in cqlsh, with as many replicas as you want, or run `stitch-processor init \
                       --replication 3`";
        self.outcome = Outcome::KeyspaceMissing(UserError::new(what, help));
        self.statement = Some(statement);
    }
}

impl Report for InitReport {
    fn outcome(&self) -> &'static str {
        let any = |state| self.steps.iter().any(|step| step.state == state);
        match self.outcome {
            Outcome::Differs(_) => "differs",
            Outcome::KeyspaceMissing(_) => "keyspace_missing",
            Outcome::Done if any(UPDATED) => UPDATED,
            Outcome::Done if any(CREATED) => CREATED,
            Outcome::Done => AGREES,
        }
    }

    fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Done => Exit::Success,
            Outcome::Differs(_) | Outcome::KeyspaceMissing(_) => Exit::Failed,
        }
    }

    fn error(&self) -> Option<&UserError> {
        match &self.outcome {
            Outcome::Done => None,
            Outcome::Differs(failure) | Outcome::KeyspaceMissing(failure) => Some(failure),
        }
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for step in &self.steps {
            writeln!(out, "{:<8} {}", step.state, step.what)?;
        }
        for difference in &self.differences {
            writeln!(out, "differs  {difference}")?;
        }
        if let Some(statement) = &self.statement {
            writeln!(out, "{statement};")?;
        }
        if self.outcome == Outcome::Done {
            writeln!(out, "namespace \"{}\" is ready", self.namespace)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_attempt_has_created_is_reported_as_created() {
        let text = include_str!("../../../deploy/stitch.toml");
        let config = Config::parse("stitch.toml", text, &Default::default()).unwrap();
        let mut report = InitReport::new(&config);
        report.agrees("topic");
        report.created("table");
        // The connection broke: from the beginning.
        report.agrees("topic");
        report.agrees("table");
        report.created("definition");
        let steps: Vec<_> = report
            .steps
            .iter()
            .map(|step| (&*step.what, step.state))
            .collect();
        assert_eq!(
            steps,
            [
                ("topic", AGREES),
                ("table", CREATED),
                ("definition", CREATED)
            ]
        );
        assert_eq!(report.outcome(), CREATED);
    }
}

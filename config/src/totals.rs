//! The section `[totals]`.

use std::path::PathBuf;

use crate::section::{Given, Section, section};
use stitch_common::user_error::UserError;

section! {
    /// `[totals]`
    pub Totals() {
        /// Where totals are; by default where the archive is, and without one in a local folder.
        url: Option<String> = optional_text("url"; "url = \"file:///var/lib/stitch\""),
        /// Bytes of contributions in memory.
        memory_bytes_max: usize = mebibytes("memory_mib_max"; 512),
        /// The folder of sorted runs.
        spill: PathBuf = folder("spill"; "stitch-spill"),
        /// Bytes of sorted runs, and of one file that is being written.
        spill_bytes_max: usize = mebibytes("spill_mib_max"; 65_536),
        /// What adds up.
        engine: Engine = engine("engine"),
        /// `[totals.spark]`
        spark: Spark = spark("spark"),
    }
}

section! {
    /// `[totals.spark]`
    pub Spark() {
        /// The command that submits a job, and its arguments; those of the job are appended.
        submit: Vec<String> = command("submit"; "submit = [\"spark-submit\", \"--master\", \"yarn\"]"),
        /// Where totals are, as Spark names it; by default as Stitch does, and `s3a:` for `s3:`.
        url: Option<String> = optional_text("url"; "url = \"s3a://bucket/prefix\""),
        /// The program that executors run; by default the one that builds.
        program: Option<PathBuf> = optional_file("program"; "program = \"/usr/lib/stitch/stitch-totals\""),
        /// Bytes of contributions in the memory of one task.
        task_memory_bytes_max: usize = mebibytes("task_memory_mib_max"; 256),
    }
}

/// What adds records up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This process.
    Local,
    /// A Spark cluster, as far as records are archived.
    Spark,
}

impl Section<'_> {
    fn engine(&mut self, key: &str) -> Result<Engine, UserError> {
        let engines = [(Engine::Local, "LOCAL"), (Engine::Spark, "SPARK")];
        self.one_of(key, Engine::Local, "engine", &engines)
    }

    fn spark(&mut self, key: &str) -> Result<Spark, UserError> {
        Spark::read(self.section(key)?)
    }

    /// A command and its arguments, each as it stands; empty, if it is missing.
    fn command(&mut self, key: &str, example: &str) -> Result<Vec<String>, UserError> {
        let Some(Given { value, source }) = self.strings(key)? else {
            return Ok(Vec::new());
        };
        let words: Vec<String> = value.into_iter().map(|word| word.value).collect();
        if words
            .first()
            .is_some_and(|program| !program.trim().is_empty())
        {
            return Ok(words);
        }
        Err(self.wrong(key, source, " names no program", format!("write {example}")))
    }

    pub(super) fn optional_file(
        &mut self,
        key: &str,
        example: &str,
    ) -> Result<Option<PathBuf>, UserError> {
        Ok(self.optional_text(key, example)?.map(PathBuf::from))
    }
}

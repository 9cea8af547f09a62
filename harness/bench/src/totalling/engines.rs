//! The programs that add up the same archive: DuckDB, and Spark with `local[2]`, each by its own functions for JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use stitch_harness::process::Program;
use stitch_harness::servers::repository;

use super::BOUND;

/// Where the engines are.
#[derive(Clone, Debug)]
pub(crate) struct Engines {
    python: PathBuf,
    spark_submit: PathBuf,
    scripts: PathBuf,
}

/// What totals consist of, whatever their order and their files.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Digest {
    pub(super) cells: f64,
    total: String,
    checksum: String,
}

impl Engines {
    /// `python` has DuckDB; `spark_submit` starts a Spark of its own.
    pub(crate) fn new(python: &Path, spark_submit: &Path) -> Result<Self> {
        Ok(Self {
            python: python.to_owned(),
            spark_submit: spark_submit.to_owned(),
            scripts: repository()?.join("harness/bench/engines"),
        })
    }

    /// DuckDB, which writes one file.
    pub(super) fn duckdb(&self, archive: &Path, output: &Path, folder: &Path) -> Result<Program> {
        let spill = folder.join("duckdb-spill");
        std::fs::create_dir_all(&spill)?;
        Ok(self.duckdb_program("build", &[archive, output, &spill], folder))
    }

    /// Spark, which writes a folder of files.
    pub(super) fn spark(&self, archive: &Path, output: &Path, folder: &Path) -> Program {
        let script = self.scripts.join("spark_totals.py");
        let local = format!("spark.local.dir={}", folder.display());
        // By default 200 partitions, for each of which two cores would start a task in every step.
        let partitions = "spark.sql.shuffle.partitions=8";
        let local_of_two = ["--master", "local[2]", "--driver-memory", "4g"];
        let paths = [&script, archive, output].map(|path| path.display().to_string());
        Program {
            name: "spark".to_owned(),
            path: self.spark_submit.clone(),
            arguments: local_of_two
                .into_iter()
                .chain(["--conf", partitions, "--conf", &local])
                .map(str::to_owned)
                .chain(paths)
                .collect(),
            environment: Vec::new(),
            folder: folder.to_owned(),
        }
    }

    /// The digest of the files that a pattern names.
    pub(super) async fn digest(&self, files: &Path) -> Result<Digest> {
        let folder = std::env::temp_dir();
        let program = self.duckdb_program("digest", &[files], &folder);
        let finished = program.run(BOUND).await?;
        ensure!(finished.code == Some(0), "{}", finished.errors);
        serde_json::from_str(&finished.output).with_context(|| finished.output.clone())
    }

    fn duckdb_program(&self, command: &str, paths: &[&Path], folder: &Path) -> Program {
        let script = self.scripts.join("duckdb_totals.py").display().to_string();
        let paths = paths.iter().map(|path| path.display().to_string());
        Program {
            name: format!("duckdb-{command}"),
            path: self.python.clone(),
            arguments: [script, command.to_owned()]
                .into_iter()
                .chain(paths)
                .collect(),
            environment: Vec::new(),
            folder: folder.to_owned(),
        }
    }
}

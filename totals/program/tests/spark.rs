//! `stitch-totals build --engine spark` on a real Spark (`deploy/lib/spark-submit`), with executors that are processes of
//! their own, beside a real Kafka, ZooKeeper and Cassandra.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::{COUNTERS, Generator, Shape, bad_records};
use stitch_harness::process::{Finished, Program, binary};
use stitch_harness::servers::{Servers, repository};
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

/// Spark takes most of it to start.
const BOUND: Duration = Duration::from_secs(240);

/// A namespace whose archive has several segments, and whose log has a little more.
struct Scene {
    namespace: TestNamespace,
    store: tempfile::TempDir,
    runs: std::cell::Cell<u32>,
}

impl Scene {
    async fn new(name: &str) -> Result<Self> {
        let mut config = TestConfig::new(name)?;
        config.partitions = 2;
        let store = tempfile::tempdir()?;
        let url = format!("file://{}", store.path().display());
        let spill = store.path().join("spill");
        config.config = format!(
            "{COUNTERS}\n[archive]\nurl = \"{url}\"\nsegment_mib = 1\n[totals]\nurl = \"{url}\"\nspill = {spill:?}\n\
             engine = \"spark\"\n[batch]\nenabled = true\n"
        );
        let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
        let scene = Self {
            namespace,
            store,
            runs: std::cell::Cell::new(0),
        };
        let feed = scene.namespace.feed()?;
        let mut events = Generator::new(Shape::default())?;
        for _ in 0..3 {
            feed.send(events.by_ref().take(4000)).await?;
            let bad = bad_records().into_iter().map(|(_, record)| record);
            feed.send(bad).await?;
            scene.run("stitch-archive", &["run", "--once"], "").await?;
        }
        feed.send(events.take(500)).await?;
        Ok(scene)
    }

    /// Runs a program to its end. `program` is what executors run, if it is not the program that builds.
    async fn run(&self, name: &str, arguments: &[&str], program: &str) -> Result<Finished> {
        let number = self.runs.replace(self.runs.get() + 1);
        let config = self.namespace.config.display().to_string();
        let arguments = arguments.iter().copied().chain(["--config", &config]);
        let submit = repository()?.join("deploy/lib/spark-submit");
        let submit = format!("[{:?}, \"--master\", \"local-cluster[2,1,1024]\"]", submit);
        let mut environment = vec![("STITCH_TOTALS__SPARK__SUBMIT".to_owned(), submit)];
        if !program.is_empty() {
            let program = program.to_owned();
            environment.push(("STITCH_TOTALS__SPARK__PROGRAM".to_owned(), program));
        }
        let program = Program {
            name: format!("{name}-{number}"),
            path: binary(name)?,
            arguments: arguments.map(str::to_owned).collect(),
            environment,
            folder: self.namespace.folder.clone(),
        };
        program.run(BOUND).await
    }

    /// Builds totals from the beginning: the exit code, and the report.
    async fn build(&self, engine: &str, program: &str) -> Result<(i32, Value)> {
        let arguments = ["build", "--from-beginning", "--engine", engine];
        let arguments = [&arguments[..], &["--output", "json"]].concat();
        let finished = self.run("stitch-totals", &arguments, program).await?;
        let report = serde_json::from_str(&finished.output);
        let report = report.with_context(|| format!("{finished:?}"))?;
        Ok((finished.code.context("an exit code")?, report))
    }

    /// The manifest of some totals, which is deleted with them.
    fn take_manifest(&self, report: &Value) -> Result<Value> {
        let folder = report["folder"].as_str().context("a folder")?;
        let folder = self.store.path().join(folder);
        let manifest = std::fs::read(folder.join("manifest.json"))?;
        std::fs::remove_dir_all(folder)?;
        Ok(serde_json::from_slice(&manifest)?)
    }

    /// What executors run instead of the program: a shell script, to which the program is `"$program"`.
    fn script(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.store.path().join(name);
        let program = binary("stitch-totals")?;
        std::fs::write(&path, format!("#!/bin/sh\nprogram={program:?}\n{text}\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// The files that jobs have left in the store.
    fn partials(&self) -> Result<usize> {
        files_in(&self.store.path().join("partials"))
    }
}

/// The number of files below a folder.
fn files_in(folder: &Path) -> Result<usize> {
    let mut files = 0;
    if !folder.exists() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        files += if path.is_dir() { files_in(&path)? } else { 1 };
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spark_that_loses_an_executor_builds_the_totals_that_one_process_builds() -> Result<()> {
    let scene = Scene::new("totals_spark").await?;
    let (code, report) = scene.build("local", "").await?;
    ensure!(code == 0 && report["outcome"] == "built", "{report}");
    let here = scene.take_manifest(&report)?;
    // The first to map a segment then kills its executor, whose answer is lost. It is an ancestor of the script.
    let killed = scene.store.path().join("killed");
    let script = format!(
        "\"$program\" \"$@\" || exit
if mkdir {killed:?} 2>/dev/null; then
    pid=$$
    until grep -q CoarseGrainedExecutorBackend /proc/$pid/cmdline; do
        pid=$(awk '$1 == \"PPid:\" {{ print $2 }}' /proc/$pid/status)
    done
    kill -9 $pid
    echo $pid >{killed:?}/executor
fi"
    );
    let program = scene.script("kills-its-executor", &script)?;
    let program = program.display().to_string();
    let (code, report) = scene.build("spark", &program).await?;
    ensure!(code == 0 && report["outcome"] == "built", "{report}");
    ensure!(killed.join("executor").exists(), "no executor was killed");
    let there = scene.take_manifest(&report)?;
    for same in ["id", "digest", "rows", "accounts", "sources", "subject"] {
        ensure!(here[same] == there[same], "{same}: {here} {there}");
    }
    ensure!(here["rows"].as_u64() > Some(1000), "{here}");
    ensure!(scene.partials()? == 0, "something is left in the store");
    batch_is_built_on_spark(&scene, &here).await
}

/// Loads batch counts, whose totals are built by the engine of the configuration: what one process has built.
async fn batch_is_built_on_spark(scene: &Scene, here: &Value) -> Result<()> {
    let ran = scene.store.path().join("ran");
    let script = scene.script(
        "says-that-it-ran",
        &format!("touch {ran:?}\n\"$program\" \"$@\""),
    )?;
    let script = script.display().to_string();
    for (command, rest) in [("init", &["--replication", "1"][..]), ("run", &[])] {
        let arguments = [&[command], rest, &["--output", "json"]].concat();
        let finished = scene.run("stitch-batch", &arguments, &script).await?;
        ensure!(finished.code == Some(0), "{command}: {finished:?}");
    }
    ensure!(ran.exists(), "no executor has built anything");
    let status = scene.run("stitch-batch", &["status", "--output", "json"], "");
    let status: Value = serde_json::from_str(&status.await?.output)?;
    let published = &status["published"];
    ensure!(published["totals"] == here["id"], "{status} {here}");
    for same in ["rows", "digest"] {
        ensure!(published[same] == here[same], "{same}: {status} {here}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_lies_or_fails_publishes_nothing_and_says_why() -> Result<()> {
    let scene = Scene::new("totals_spark_wrong").await?;
    let script = "\"$program\" \"$@\" | sed 's/\"cells\":/\"cells\":1/'";
    let lies = scene.script("lies", script)?.display().to_string();
    let (code, report) = scene.build("spark", &lies).await?;
    let message = report["error"]["message"].as_str().context("an error")?;
    ensure!(code == 2, "{report}");
    let expected = "the accounts of the job disagree: counter ";
    ensure!(message.starts_with(expected), "{message}");
    ensure!(scene.partials()? == 0, "what may be wrong is kept");
    let script = "cat >/dev/null; echo 'error: no such bucket' >&2; exit 2";
    let fails = scene.script("fails", script)?.display().to_string();
    let (code, report) = scene.build("spark", &fails).await?;
    let message = report["error"]["message"].as_str().context("an error")?;
    ensure!(code == 2, "{report}");
    let said = "stitch-totals map has ended with 2: error: no such bucket";
    ensure!(message.contains("has ended with exit code 1"), "{message}");
    ensure!(message.contains(said), "{message}");
    let listed = scene
        .run("stitch-totals", &["list", "--output", "json"], "")
        .await?;
    let listed: Value = serde_json::from_str(&listed.output)?;
    ensure!(
        listed["totals"].as_array().is_some_and(Vec::is_empty),
        "{listed}"
    );
    Ok(())
}

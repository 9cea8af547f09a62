//! A namespace whose archive and totals are in a store of the test's own, the programs on it, and an independent recount of
//! what they leave.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;
use stitch_common::ports::{ObjectName, ObjectStore};
use stitch_harness::events::{COUNTERS, Generator, Record, Shape};
use stitch_harness::object_server::{ObjectServer, client_environment};
use stitch_harness::process::{Finished, Process, Program};
use stitch_harness::proxy::Proxy;
use stitch_harness::recount::{CellId, Cells, count_log};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_objects::ObjectFolder;
use tokio::time::{sleep, timeout};

/// Longer than anything that does not hang, on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A namespace whose archive and totals are below one URL.
pub(crate) struct Scene {
    pub(crate) namespace: TestNamespace,
    pub(crate) url: String,
    /// Of the programs and of the test's own client.
    environment: Vec<(String, String)>,
    pub(crate) folder: tempfile::TempDir,
}

/// An S3 server, and the proxy by which the programs reach it.
pub(crate) struct Store {
    _server: ObjectServer,
    pub(crate) proxy: Proxy,
}

impl Store {
    pub(crate) async fn start() -> Result<Self> {
        let server = ObjectServer::start().await?;
        let proxy = Proxy::http(server.address()).await?;
        Ok(Self {
            _server: server,
            proxy,
        })
    }
}

impl Scene {
    /// Archive and totals in a folder of this machine.
    pub(crate) async fn in_folder(name: &str, partitions: i32, settings: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let url = format!("file://{}/store", folder.path().display());
        Self::at(name, partitions, url, Vec::new(), settings, folder).await
    }

    /// Archive and totals in the bucket of `store`.
    pub(crate) async fn in_bucket(
        name: &str,
        partitions: i32,
        store: &Store,
        settings: &str,
    ) -> Result<Self> {
        let environment = client_environment(&store.proxy.address());
        let url = "s3://bucket/prefix".to_owned();
        let folder = tempfile::tempdir()?;
        Self::at(name, partitions, url, environment, settings, folder).await
    }

    /// Archive and totals below `url`. `settings` are those of `[archive]` beside its URL, and of the sections after it.
    pub(crate) async fn at(
        name: &str,
        partitions: i32,
        url: String,
        environment: Vec<(String, String)>,
        settings: &str,
        folder: tempfile::TempDir,
    ) -> Result<Self> {
        let mut config = TestConfig::new(name)?;
        config.partitions = partitions;
        config.config = configuration(&url, folder.path(), settings);
        let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
        Ok(Self {
            namespace,
            url,
            environment,
            folder,
        })
    }

    /// Changes the configuration: the URL of archive and totals, and the settings behind it.
    pub(crate) fn configure(&self, url: &str, settings: &str) -> Result<()> {
        let changes = configuration(url, self.folder.path(), settings);
        self.namespace.configure(&changes)
    }

    fn with_environment(&self, mut program: Program) -> Program {
        program.environment.extend(self.environment.iter().cloned());
        program
    }

    /// A command of a program, with JSON as its output.
    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Result<Program> {
        let (command, rest) = arguments.split_first().context("a command")?;
        let rest = [rest, &["--output", "json"]].concat();
        let namespace = &self.namespace;
        let program = match name {
            "stitch-archive" => namespace.archive_command(command, &rest),
            "stitch-totals" => namespace.totals_command(command, &rest),
            _ => namespace.restorator_command(command, &rest),
        };
        Ok(self.with_environment(program?))
    }

    /// Runs a command; returns how it ended, and the object that is all of its standard output.
    pub(crate) async fn finished(
        &self,
        name: &str,
        arguments: &[&str],
    ) -> Result<(Finished, Value)> {
        let finished = self.command(name, arguments)?.run(BOUND).await?;
        let report = serde_json::from_str(&finished.output);
        let report = report.with_context(|| format!("{finished:?}"))?;
        Ok((finished, report))
    }

    /// As [`Self::finished`]; returns the exit code.
    async fn run(&self, name: &str, arguments: &[&str]) -> Result<(i32, Value)> {
        let (finished, report) = self.finished(name, arguments).await?;
        Ok((finished.code.context("an exit code")?, report))
    }

    pub(crate) async fn archive(&self, arguments: &[&str]) -> Result<(i32, Value)> {
        self.run("stitch-archive", arguments).await
    }

    pub(crate) async fn totals(&self, arguments: &[&str]) -> Result<(i32, Value)> {
        self.run("stitch-totals", arguments).await
    }

    pub(crate) async fn restorator(&self, arguments: &[&str]) -> Result<(i32, Value)> {
        self.run("stitch-restorator", arguments).await
    }

    /// Archives up to the log's end.
    pub(crate) async fn archive_once(&self) -> Result<Value> {
        let (code, report) = self.archive(&["run", "--once"]).await?;
        ensure!(code == 0 && report["outcome"] == "archived", "{report}");
        Ok(report)
    }

    /// Fails unless the archive is whole. Progress says how much of it there is to read.
    pub(crate) async fn ensure_archive_is_whole(&self) -> Result<Value> {
        let (finished, report) = self.finished("stitch-archive", &["verify"]).await?;
        ensure!(
            finished.code == Some(0) && report["outcome"] == "whole",
            "{report}"
        );
        let partitions = report["partitions"].as_array().context("partitions")?;
        let records = partitions
            .iter()
            .filter_map(|partition| partition["records"].as_u64());
        let records: u64 = records.sum();
        expect_progress(&finished, "verifying the archive", records, "records")?;
        Ok(report)
    }

    /// Starts `stitch-archive run`, and waits until it copies.
    pub(crate) async fn archiver(&self) -> Result<Process> {
        let mut process = self.command("stitch-archive", &["run"])?.start()?;
        process.until_says("listening on ", BOUND).await?;
        Ok(process)
    }

    /// Builds totals, and fails unless they are `expected` and right by their own recount. Returns the report.
    pub(crate) async fn build(&self, expected: &Cells) -> Result<Value> {
        let (code, report) = self.totals(&["build"]).await?;
        ensure!(code == 0 && report["outcome"] == "built", "{report}");
        self.ensure_totals_are(&report, expected).await?;
        Ok(report)
    }

    /// Fails unless the totals of a report of `build` are `expected`, and right by their own recount.
    pub(crate) async fn ensure_totals_are(&self, report: &Value, expected: &Cells) -> Result<()> {
        let cells = self.cells(text(&report["folder"])?).await?;
        ensure!(
            cells == *expected,
            "{} cells, and {} by the recount: {report}",
            cells.len(),
            expected.len()
        );
        let (code, verified) = self.totals(&["verify", text(&report["id"])?]).await?;
        ensure!(code == 0 && verified["outcome"] == "verified", "{verified}");
        Ok(())
    }

    /// The test's own client of the store.
    pub(crate) fn store(&self) -> Result<ObjectFolder> {
        Ok(ObjectFolder::open_with(
            "url",
            &self.url,
            &self.environment,
        )?)
    }

    /// The cells in the Parquet files of a folder, read by nothing of the product.
    pub(crate) async fn cells(&self, folder: &str) -> Result<Cells> {
        let store = self.store()?;
        let mut cells = Cells::new();
        for entry in store.list(&ObjectName(folder.to_owned()), None).await? {
            if entry.name.0.ends_with(".parquet") {
                add_cells(store.get(&entry.name).await?, &mut cells)?;
            }
        }
        // A missing cell is 0.
        cells.retain(|_, value| *value != 0);
        Ok(cells)
    }

    /// What all records that the log has now add up to.
    pub(crate) async fn count_log(&self) -> Result<Cells> {
        let TestNamespace {
            servers, config, ..
        } = &self.namespace;
        let (cells, _) = count_log(servers, config, self.namespace.topic()).await?;
        Ok(cells)
    }

    /// Sends events, equal for equal seeds.
    pub(crate) async fn send(&self, seed: u64, count: usize) -> Result<Vec<Record>> {
        let events = events(seed, count)?;
        self.namespace.feed()?.send(events.iter().cloned()).await?;
        Ok(events)
    }

    /// The names of the store's objects that have all of these texts.
    pub(crate) async fn objects(&self, texts: &[&str]) -> Result<Vec<ObjectName>> {
        let mut names = Vec::new();
        for folder in ["archive/v1", "totals/v1"] {
            let listed = self
                .store()?
                .list(&ObjectName(folder.to_owned()), None)
                .await?;
            names.extend(listed.into_iter().map(|entry| entry.name));
        }
        names.retain(|name| texts.iter().all(|text| name.0.contains(text)));
        Ok(names)
    }

    /// Waits until the archive is complete up to the log's end.
    pub(crate) async fn until_archived(&self) -> Result<()> {
        let archived = async {
            loop {
                let (_, report) = self.archive(&["status"]).await?;
                let partitions = report["partitions"].as_array().cloned().unwrap_or_default();
                let is_done = |partition: &Value| partition["behind_records"] == 0;
                if !partitions.is_empty() && partitions.iter().all(is_done) {
                    return Ok(());
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(BOUND, archived)
            .await
            .context("the archive stays behind")?
    }
}

fn configuration(url: &str, folder: &Path, settings: &str) -> String {
    let spill = folder.join("spill");
    format!(
        "{COUNTERS}\n[totals]\nurl = \"{url}\"\nspill = {spill:?}\n[archive]\nurl = \"{url}\"\n{settings}\n"
    )
}

/// Generated events, equal for equal seeds.
pub(crate) fn events(seed: u64, count: usize) -> Result<Vec<Record>> {
    let shape = Shape {
        seed,
        tracks: 200,
        ..Shape::default()
    };
    Ok(Generator::new(shape)?.take(count).collect())
}

fn add_cells(content: Vec<u8>, cells: &mut Cells) -> Result<()> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(content))?;
    for row in reader.get_row_iter(None)? {
        let row = row?;
        let id = CellId {
            counter: row.get_string(1)?.clone(),
            key: row.get_string(2)?.clone(),
            granularity: row.get_string(3)?.clone(),
            bucket_ms: row.get_timestamp_millis(4)?,
        };
        let known = cells.insert(id, row.get_long(5)?);
        ensure!(known.is_none(), "a cell is there twice");
    }
    Ok(())
}

/// A text of a report.
pub(crate) fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is no text"))
}

/// Fails unless the progress of a command has this phase, which ended with all of this many units.
pub(crate) fn expect_progress(
    finished: &Finished,
    phase: &str,
    total: u64,
    unit: &str,
) -> Result<()> {
    let begin = format!("{phase}: ");
    // The last one: what takes seconds says in between how far it is.
    let line = finished
        .errors
        .lines()
        .rfind(|line| line.starts_with(&begin));
    let line = line.with_context(|| format!("no phase \"{phase}\": {finished:?}"))?;
    // Thousands are separated.
    let all = format!("{phase}: {total} of {total} {unit}");
    ensure!(
        line.replace(',', "").starts_with(&all),
        "{line}, and not {all}"
    );
    Ok(())
}

/// Fails unless a command has refused: exit code 2, with help, and with these words in one sentence.
pub(crate) fn expect_refusal((code, report): &(i32, Value), words: &[&str]) -> Result<()> {
    ensure!(*code == 2, "exited with {code}: {report}");
    let error = &report["error"];
    let (message, help) = (text(&error["message"])?, text(&error["help"])?);
    ensure!(!help.is_empty(), "no help: {report}");
    ensure!(!message.contains('\n'), "more than a line: {report}");
    for word in words {
        ensure!(message.contains(word), "\"{word}\" is not in {report}");
    }
    Ok(())
}

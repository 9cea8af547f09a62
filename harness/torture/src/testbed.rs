//! The testbed of a history: namespace, processors, restorators, and the lines between them and the servers.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use stitch_harness::events::COUNTERS;
use stitch_harness::process::Program;
use stitch_harness::small_disk::SmallDisk;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

use crate::clocks::Clocks;
use crate::kind::Kind;
use crate::lines::Lines;
use crate::plan::{Attempt, Hazard, Plan, Way};
use crate::process_slot::ProcessSlot;
use crate::restorations::{Record, Restorations};
use crate::test_cluster::TestCluster;
use crate::timeline::Timeline;

/// Short timeouts, so that a history has time for several quiescence barriers; the others are those of every namespace.
pub(crate) const TIMEOUTS: &str = r#"
[zookeeper]
session_timeout_ms = 3000
[kafka.client]
"session.timeout.ms" = "6000"
[processor]
drain_timeout_ms = 2000
stop_timeout_ms = 4000
[restorator]
quiescence_timeout_ms = 60000
range_timeout_ms = 20000
dirty_cells_target = 200
[archive]
segment_ms = 500
"#;

/// Set for a restoration that has to succeed.
const PATIENT: [&str; 2] = ["STITCH_RESTORATOR__QUIESCENCE_TIMEOUT_MS", "150000"];

/// Means for faults that not every machine has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means {
    /// A folder on a small disk, which all histories fill.
    pub(crate) disk: Option<PathBuf>,
    /// The library that gives a process its own wall clock.
    pub(crate) clock: Option<PathBuf>,
}

/// The name of the clock that all restorators share.
pub(crate) const RESTORATORS: &str = "restorators";

/// Everything that a history runs on.
pub(crate) struct Testbed {
    pub(crate) namespace: TestNamespace,
    pub(crate) cluster: Arc<TestCluster>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) lines: Lines,
    pub(crate) restorations: Restorations,
    /// Only if they are stepped in this history.
    pub(crate) clocks: Option<Clocks>,
    disk: Option<PathBuf>,
}

impl Testbed {
    /// Creates the namespace and the lines; starts no process.
    pub(crate) async fn set_up(
        plan: &Plan,
        cluster: Arc<TestCluster>,
        means: &Means,
        folder: PathBuf,
        timeline: Arc<Timeline>,
    ) -> Result<Self> {
        let stepped = plan.kinds.contains(&Kind::StepClock);
        let library = means.clock.clone().filter(|_| stepped);
        let clocks = library.map(|library| Clocks {
            library,
            folder: folder.clone(),
        });
        if let Some(clocks) = &clocks {
            clocks.environment(RESTORATORS)?;
        }
        let test_config = TestConfig {
            name: format!("torture_{}", plan.seed),
            partitions: plan.partitions,
            config: format!(
                "{TIMEOUTS}url = \"file://{}/objects\"\n{COUNTERS}",
                folder.display()
            ),
            folder,
        };
        let namespace = TestNamespace::build(&cluster.servers, &test_config).await?;
        timeline.note(format!("namespace {}", namespace.name));
        Ok(Self {
            lines: Lines::start(&cluster.servers).await?,
            restorations: Restorations::new(Arc::clone(&timeline)),
            disk: means.disk.clone(),
            clocks,
            namespace,
            cluster,
            timeline,
        })
    }

    /// Starts a processor that is restarted whenever it exits.
    pub(crate) fn start_slot(&self, number: usize, way: Way) -> Result<ProcessSlot> {
        let mut program = self.namespace.processor_command("run", &[])?;
        let name = format!("processor-{}", number + 1);
        program.environment = self.environment(&name, way)?;
        self.timeline.note(format!("{name} starts, {way:?}"));
        Ok(ProcessSlot::start(
            &name,
            program,
            Arc::clone(&self.timeline),
        ))
    }

    /// Runs a restoration until it exits.
    pub(crate) async fn restore(&self, attempt: &Attempt) -> Result<Record> {
        let mut arguments = vec!["--now".to_owned(), "--output".to_owned(), "json".to_owned()];
        let mut what = format!("{:?}", attempt.way);
        if let Some((first, last)) = attempt.ranges {
            arguments.extend(["--ranges".to_owned(), format!("{first}-{last}")]);
            what += &format!(", ranges {first}-{last}");
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut program = self.namespace.restorator_command("run", &arguments)?;
        program.environment = self.environment(RESTORATORS, attempt.way)?;
        if attempt.patient {
            program.environment.push(PATIENT.map(str::to_owned).into());
        }
        let full_disk = match attempt.hazard {
            Some(hazard) => self.hazard(hazard, &mut program, &mut what)?,
            None => None,
        };
        let record = self.restorations.run(program, &what).await?;
        if let Some(disk) = full_disk {
            std::fs::remove_dir_all(disk.folder())?;
            self.timeline.disturbance("the small disk has space again");
        }
        Ok(record)
    }

    /// Prepares a hazard; returns the disk that was filled for it.
    fn hazard(
        &self,
        hazard: Hazard,
        program: &mut Program,
        what: &mut String,
    ) -> Result<Option<SmallDisk>> {
        let points = |action: String| ("FAILPOINTS".to_owned(), action);
        match hazard {
            Hazard::Dies(point) => {
                *what += &format!(", dies at {point}");
                self.timeline
                    .fault(Kind::KillRestorator, format!("to die at {point}"));
                program.environment.push(points(format!("{point}=return")));
            }
            Hazard::Lingers(point, lasting) => {
                let ms = lasting.as_millis();
                *what += &format!(", pauses for {ms} ms at {point}");
                self.timeline.fault(
                    Kind::FreezeRestorator,
                    format!("to pause for {ms} ms at {point}"),
                );
                // Once only: the restorator passes the point for each range.
                program
                    .environment
                    .push(points(format!("{point}=1*sleep({ms})")));
            }
            Hazard::FullDisk => {
                let Some(disk) = &self.disk else {
                    return Ok(None);
                };
                let disk = SmallDisk::shared(disk.join(&self.namespace.name))?;
                let journals = disk.folder().join("journals");
                std::fs::create_dir_all(&journals)?;
                disk.fill(1)?;
                "journal on a full disk".clone_into(what);
                self.timeline
                    .fault(Kind::FullDisk, "journal on a full disk");
                program.environment.push((
                    "STITCH_RESTORATOR__JOURNAL".to_owned(),
                    journals.display().to_string(),
                ));
                return Ok(Some(disk));
            }
        }
        Ok(None)
    }

    /// What a process needs to reach the servers this way, and to have this clock.
    pub(crate) fn environment(&self, name: &str, way: Way) -> Result<Vec<(String, String)>> {
        let mut environment = match way {
            Way::Straight => Vec::new(),
            Way::Proxied => self.lines.environment(),
        };
        if let Some(clocks) = &self.clocks {
            environment.extend(clocks.environment(name)?);
        }
        Ok(environment)
    }
}

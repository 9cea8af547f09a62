//! The field on which a history plays: namespace, processors, restorators, lines.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use stitch_harness::events::COUNTERS;
use stitch_harness::process::Program;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

use crate::attempts::{Attempts, Record};
use crate::calendars::Calendars;
use crate::chronicle::Chronicle;
use crate::kind::Kind;
use crate::lines::Lines;
use crate::plan::{Attempt, Doom, Plan, Way};
use crate::process_slot::ProcessSlot;
use crate::small_disk::SmallDisk;
use crate::test_cluster::TestCluster;

/// Short, so that a history has room for several calms; what is not here is as in every stage.
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
"#;

/// For a restoration that has to succeed.
const PATIENCE: [&str; 2] = ["STITCH_RESTORATOR__CALM_TIMEOUT_MS", "150000"];

/// Faults that this machine has the means for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means {
    /// A small disk.
    pub(crate) disk: Option<SmallDisk>,
    /// A library that gives a process a calendar of its own.
    pub(crate) calendar: Option<PathBuf>,
}

/// The calendar that all restorators have in common.
pub(crate) const RESTORATORS: &str = "restorators";

/// Where a history plays.
pub(crate) struct Field {
    pub(crate) stage: TestNamespace,
    pub(crate) room: Arc<TestCluster>,
    pub(crate) chronicle: Arc<Chronicle>,
    pub(crate) lines: Lines,
    pub(crate) attempts: Attempts,
    /// If they are stepped in this history.
    pub(crate) calendars: Option<Calendars>,
    disk: Option<SmallDisk>,
}

impl Field {
    /// Makes the namespace; nothing runs yet.
    pub(crate) async fn lay_out(
        plan: &Plan,
        room: Arc<TestCluster>,
        means: &Means,
        folder: PathBuf,
        chronicle: Arc<Chronicle>,
    ) -> Result<Self> {
        let stepped = plan.kinds.contains(&Kind::StepCalendar);
        let library = means.calendar.clone().filter(|_| stepped);
        let calendars = library.map(|library| Calendars {
            library,
            folder: folder.clone(),
        });
        if let Some(calendars) = &calendars {
            calendars.environment(RESTORATORS)?;
        }
        let setting = TestConfig {
            name: format!("torture_{}", plan.seed),
            partitions: plan.partitions,
            config: format!("{TIMEOUTS}{COUNTERS}"),
            folder,
        };
        let stage = TestNamespace::build(&room.servers, &setting).await?;
        chronicle.note(format!("namespace {}", stage.namespace));
        Ok(Self {
            lines: Lines::lay(&room.servers).await?,
            attempts: Attempts::new(Arc::clone(&chronicle)),
            disk: means.disk.clone(),
            calendars,
            stage,
            room,
            chronicle,
        })
    }

    /// A processor that comes back whenever it ends.
    pub(crate) fn seat(&self, number: usize, way: Way) -> Result<ProcessSlot> {
        let mut program = self.stage.processor_command("run", &[])?;
        let name = format!("processor-{}", number + 1);
        program.environment = self.environment(&name, way)?;
        self.chronicle.note(format!("{name} begins, {way:?}"));
        Ok(ProcessSlot::fill(
            &name,
            program,
            Arc::clone(&self.chronicle),
        ))
    }

    /// Runs a restoration to its end.
    pub(crate) async fn restore(&self, attempt: &Attempt) -> Result<Record> {
        let mut arguments = vec!["--now".to_owned(), "--output".to_owned(), "json".to_owned()];
        let mut what = format!("{:?}", attempt.way);
        if let Some((first, last)) = attempt.ranges {
            arguments.extend(["--ranges".to_owned(), format!("{first}-{last}")]);
            what += &format!(", ranges {first}-{last}");
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut program = self.stage.restorator_command("run", &arguments)?;
        program.environment = self.environment(RESTORATORS, attempt.way)?;
        if attempt.patient {
            program.environment.push(PATIENCE.map(str::to_owned).into());
        }
        let full = match attempt.doom {
            Some(doom) => self.doom(doom, &mut program, &mut what)?,
            None => false,
        };
        let record = self.attempts.run(program, &what).await?;
        if full {
            self.disk
                .as_ref()
                .context("a small disk")?
                .clear(&self.stage.namespace)?;
            self.chronicle.trouble("the small disk has room again");
        }
        Ok(record)
    }

    /// Whether the disk is filled for it.
    fn doom(&self, doom: Doom, program: &mut Program, what: &mut String) -> Result<bool> {
        let points = |action: String| ("FAILPOINTS".to_owned(), action);
        match doom {
            Doom::Dies(point) => {
                *what += &format!(", dies at {point}");
                self.chronicle
                    .struck(Kind::KillRestorator, format!("to die at {point}"));
                program.environment.push(points(format!("{point}=return")));
            }
            Doom::Lingers(point, lasting) => {
                let ms = lasting.as_millis();
                *what += &format!(", stands still for {ms} ms at {point}");
                self.chronicle.struck(
                    Kind::FreezeRestorator,
                    format!("to stand still for {ms} ms at {point}"),
                );
                // Once: it passes the point for each range.
                program
                    .environment
                    .push(points(format!("{point}=1*sleep({ms})")));
            }
            Doom::FullDisk => {
                let Some(disk) = &self.disk else {
                    return Ok(false);
                };
                let journals = disk.fill(&self.stage.namespace)?;
                "journal on a full disk".clone_into(what);
                self.chronicle
                    .struck(Kind::FullDisk, "journal on a full disk");
                program.environment.push((
                    "STITCH_RESTORATOR__JOURNAL".to_owned(),
                    journals.display().to_string(),
                ));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn environment(&self, name: &str, way: Way) -> Result<Vec<(String, String)>> {
        let mut environment = match way {
            Way::Straight => Vec::new(),
            Way::Proxied => self.lines.environment(),
        };
        if let Some(calendars) = &self.calendars {
            environment.extend(calendars.environment(name)?);
        }
        Ok(environment)
    }
}

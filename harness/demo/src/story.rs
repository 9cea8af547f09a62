//! The story: one function a chapter, in order.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::Record;
use stitch_harness::feed::{Feed, Live};
use stitch_harness::process::{Finished, Process, binary};
use stitch_harness::proxy::Proxy;
use stitch_harness::recount::Verdict;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use tokio::time::{sleep, timeout};

use crate::background::Background;
use crate::narrator::Narrator;
use crate::pages::Pages;
use crate::source::Source;

/// Longest wait for anything in the story.
const BOUND: Duration = Duration::from_secs(120);
/// Longer than the sessions that the demo's ZooKeeper grants.
const PAST_THE_SESSION: Duration = Duration::from_secs(6);
const REPLIES_LOST: u64 = 10;
const CORRUPTED_EACH: usize = 25;

type Events = Box<dyn Iterator<Item = Record> + Send>;

/// One run of the demo.
pub(crate) struct Story {
    pub(crate) servers: Servers,
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) keep: bool,
}

/// Two processors; the second reaches Cassandra through a proxy.
struct Fleet {
    first: Process,
    second: Process,
    proxy: Proxy,
}

/// Events that arrive during the story.
struct Traffic {
    feed: Feed,
    burst: usize,
    per_second: u32,
}

impl Traffic {
    fn start(&self, events: Events) -> Live<Events> {
        self.feed.live(events, self.per_second)
    }
}

impl Story {
    /// Runs all chapters; true if every cell is right in the end.
    pub(crate) async fn run<W: Write>(
        self,
        source: Source,
        narrator: &mut Narrator<W>,
    ) -> Result<bool> {
        let namespace = self.create_namespace(&source, narrator).await?;
        let (mut fleet, pages) = start_counting(&namespace, source.history, narrator).await?;
        count_in_batch(&namespace, &pages, narrator).await?;
        let traffic = Traffic {
            feed: namespace.feed()?,
            burst: source.burst,
            per_second: source.per_second,
        };
        let live = inject_faults(&namespace, &mut fleet, &traffic, source.live, narrator).await?;
        let (events, before) = self.corrupt(&namespace, live, narrator).await?;
        lose_the_log(&namespace, narrator).await?;
        let live = traffic.start(events);
        let verified = audit_and_restore(&namespace, &pages, narrator).await?;
        let (rest, _) = live.stop().await?;
        if source.finite {
            traffic.feed.send(rest).await?;
        }
        let after = self.recount(&namespace, fleet, &before, narrator).await?;
        compare_layers(&namespace, narrator).await?;
        conclusion(&namespace, verified, &after, narrator)?;
        if self.keep {
            let per_second = (!source.finite).then_some(source.per_second);
            self.keep_running(&namespace, pages, per_second, narrator)
                .await?;
        } else {
            pages.close().await?;
        }
        Ok(verified && after.all_right())
    }

    async fn create_namespace<W: Write>(
        &self,
        source: &Source,
        narrator: &mut Narrator<W>,
    ) -> Result<TestNamespace> {
        narrator.chapter("A namespace: a topic, a table, a root in ZooKeeper")?;
        narrator.say(&format!("Events: {}.", source.description))?;
        let sections = format!(
            "[archive]\nurl = \"file://{}/objects\"\n[batch]\nenabled = true\n",
            self.folder.display()
        );
        let test_config = TestConfig {
            name: "demo".to_owned(),
            folder: self.folder.clone(),
            partitions: 4,
            config: sections + &source.counters,
        };
        let namespace = TestNamespace::build(&self.servers, &test_config).await?;
        let init = namespace.batch_command("init", &["--replication", "1"])?;
        done(&init.run(BOUND).await?)?;
        narrator.say(&format!(
            "Created by stitch-processor init and stitch-batch init, from {}.",
            namespace.config.display()
        ))?;
        Ok(namespace)
    }

    async fn corrupt<W: Write>(
        &self,
        namespace: &TestNamespace,
        live: Live<Events>,
        narrator: &mut Narrator<W>,
    ) -> Result<(Events, Verdict)> {
        narrator.chapter("What must not happen: counts are changed by hand")?;
        let mut corruptor =
            Corruptor::connect(&self.servers, namespace.keyspace(), self.seed).await?;
        let damage = corruptor.corrupt(CORRUPTED_EACH).await?;
        narrator.say(&format!(
            "{} cells were raised by 1000, {} doubled, {} set to 0, and {} created for keys that no event has.",
            damage.added, damage.doubled, damage.zeroed, damage.invented
        ))?;
        narrator.say("The events pause for a moment, for an independent recount.")?;
        let (events, _) = live.stop().await?;
        namespace.lag()?.until_none(BOUND).await?;
        let before = namespace.recount().await?;
        let total = before.total();
        narrator.say(&format!(
            "{} cells are right and {} are wrong:",
            total.right, total.wrong
        ))?;
        narrator.ways(&before)?;
        ensure!(
            total.wrong > 0,
            "no cell is wrong, so there is nothing to restore"
        );
        Ok((events, before))
    }

    async fn recount<W: Write>(
        &self,
        namespace: &TestNamespace,
        fleet: Fleet,
        before: &Verdict,
        narrator: &mut Narrator<W>,
    ) -> Result<Verdict> {
        narrator.chapter("The recount")?;
        namespace.lag()?.until_none(BOUND).await?;
        namespace.stop([fleet.first, fleet.second]).await?;
        narrator
            .say("The events have stopped, all are counted, and both processors have stopped on request.")?;
        narrator
            .say("A recount that shares no code with Stitch has read every record, also those that are deleted, and reads every cell.")?;
        let after = namespace.recount().await?;
        narrator.table(before, &after)?;
        Ok(after)
    }

    /// Leaves everything running; with `per_second` new events, if these do not end.
    async fn keep_running<W: Write>(
        &self,
        namespace: &TestNamespace,
        pages: Pages,
        per_second: Option<u32>,
        narrator: &mut Narrator<W>,
    ) -> Result<()> {
        narrator.chapter("Everything keeps running, to look around")?;
        let mut background = Background::new(namespace);
        for name in ["background-1", "background-2"] {
            background.processor(name).await?;
        }
        if let Some(per_second) = per_second {
            // Other events than before.
            background.traffic(self.seed.wrapping_add(1), per_second)?;
            narrator.say(&format!(
                "{per_second} generated events arrive each second."
            ))?;
        } else {
            narrator.say("All events of the file are counted; no others arrive.")?;
        }
        narrator.say(&format!("A timeline:           {}", pages.timeline()))?;
        narrator.say(&format!("The operator's page:  {}", pages.operator()))?;
        narrator.say(&format!(
            "Corrupt and restore as you like:  {} run --now --config {}",
            binary("stitch-restorator")?.display(),
            namespace.config.display()
        ))?;
        background.server("API", pages.api).await?;
        narrator.say(&format!("Running: {}.", background.leave()?))?;
        narrator.say("Its metrics and alerts in Prometheus:  deploy/monitor")?;
        narrator.say("This stops everything:  deploy/demo --stop")?;
        Ok(())
    }
}

async fn start_counting<W: Write>(
    namespace: &TestNamespace,
    history: Vec<Record>,
    narrator: &mut Narrator<W>,
) -> Result<(Fleet, Pages)> {
    narrator.chapter("Two processors count")?;
    let node = namespace.servers.cassandra.first().context("a node")?;
    let proxy = Proxy::cassandra(node).await?;
    let fleet = Fleet {
        first: namespace.processor("processor-1").await?,
        second: namespace
            .processor_reaching("processor-2", &[proxy.address()])
            .await?,
        proxy,
    };
    let pages = Pages::open(namespace, &history).await?;
    let sent = namespace.feed()?.send(history).await?;
    narrator.say("To watch in a browser:")?;
    narrator.say(&format!("  a timeline           {}", pages.timeline()))?;
    narrator.say(&format!("  the operator's page  {}", pages.operator()))?;
    namespace.lag()?.until_none(BOUND).await?;
    let verdict = namespace.recount().await?;
    ensure!(
        verdict.all_right(),
        "counts are wrong before any fault: {verdict}"
    );
    narrator.say(&format!(
        "{sent} events are counted, in {} cells. According to a recount all are right.",
        verdict.total().right
    ))?;
    Ok((fleet, pages))
}

async fn inject_faults<W: Write>(
    namespace: &TestNamespace,
    fleet: &mut Fleet,
    traffic: &Traffic,
    mut events: Events,
    narrator: &mut Narrator<W>,
) -> Result<Live<Events>> {
    narrator.chapter("What happens in every system: replies are lost, processes die or freeze")?;
    narrator.say(&format!(
        "From now on {} events arrive each second.",
        traffic.per_second
    ))?;
    let burst: Vec<Record> = events.by_ref().take(traffic.burst).collect();
    let live = traffic.start(events);

    fleet.proxy.lose_batch_replies(REPLIES_LOST);
    timeout(BOUND, fleet.proxy.until_all_are_lost())
        .await
        .context("no increments passed the proxy")?;
    narrator.say(&format!(
        "{REPLIES_LOST} of Cassandra's replies to processor 2 were lost after the increments were applied: their outcome is unknown."
    ))?;

    let lag = namespace.lag()?;
    let sending = traffic.feed.send(burst);
    let killing = async {
        // During the burst: some of it has arrived, not all of it is counted.
        while lag.records().await? == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        fleet.first.kill().await
    };
    tokio::try_join!(sending, killing)?;
    fleet.first = namespace.processor("processor-3").await?;
    narrator.say(
        "Processor 1 was killed (kill -9) while it was counting; processor 3 has replaced it.",
    )?;

    fleet.second.freeze()?;
    sleep(PAST_THE_SESSION).await;
    fleet.second.thaw()?;
    narrator.say(&format!(
        "Processor 2 was frozen for {} s, longer than its session lasts, and then resumed.",
        PAST_THE_SESSION.as_secs()
    ))?;
    Ok(live)
}

/// Archives the topic; then Kafka deletes all of it, as its retention would.
async fn lose_the_log<W: Write>(
    namespace: &TestNamespace,
    narrator: &mut Narrator<W>,
) -> Result<()> {
    narrator.chapter("Kafka's retention: the log loses everything so far")?;
    narrator.say("First it is copied into an archive: Parquet files in a folder, or in S3.")?;
    let archived = namespace
        .archive_command("run", &["--once"])?
        .run(BOUND)
        .await?;
    narrator.quote("stitch-archive run --once", &archived.output)?;
    done(&archived)?;
    let deleted = namespace.forget_log().await?;
    narrator.say(&format!(
        "Then Kafka deleted all {deleted} records: none that was counted so far is in the log any more."
    ))?;
    Ok(())
}

async fn audit_and_restore<W: Write>(
    namespace: &TestNamespace,
    pages: &Pages,
    narrator: &mut Narrator<W>,
) -> Result<bool> {
    narrator.chapter("The audit: stitch-restorator plan, while events keep arriving")?;
    narrator.say(
        "It locks nothing and changes no count. Requests of dead processes may still be in flight:",
    )?;
    narrator.say("it first waits until none of them can change the store any more.")?;
    let plan = namespace.restorator("plan", &[], BOUND).await?;
    narrator.quote("stitch-restorator plan", &plan.output)?;
    ensure!(
        plan.code == Some(1),
        "plan should exit with 1 (drift found), but exited with {:?}: {}",
        plan.code,
        plan.errors
    );

    narrator.chapter("The restoration: stitch-restorator run --now, while events keep arriving")?;
    narrator.say(&format!("Watch the locks: {}", pages.operator()))?;
    let run = namespace.restorator("run", &["--now"], BOUND).await?;
    narrator.quote("stitch-restorator run --now", &run.output)?;
    if run.code != Some(0) {
        narrator.quote("(its standard error)", &run.errors)?;
    }
    Ok(run.code == Some(0))
}

/// Counts everything once more, from the log, into a table of its own: from here on the page has both layers.
async fn count_in_batch<W: Write>(
    namespace: &TestNamespace,
    pages: &Pages,
    narrator: &mut Narrator<W>,
) -> Result<()> {
    narrator.chapter("The same counts in batch, from the events alone")?;
    let run = namespace.batch_command("run", &[])?.run(BOUND).await?;
    narrator.quote("stitch-batch run", &run.output)?;
    done(&run)?;
    if pages.until_both_layers().await? {
        narrator.say(&format!(
            "The page now takes periods that have ended from batch, the rest in real time, and each says which:  {}",
            pages.timeline()
        ))?;
        narrator.say("What happens next changes counts in real time: the total, and the period that has not ended. Batch stays as it is.")?;
    }
    Ok(())
}

/// Batch again, of what has arrived since: with the restored counts it agrees.
async fn compare_layers<W: Write>(
    namespace: &TestNamespace,
    narrator: &mut Narrator<W>,
) -> Result<()> {
    narrator.chapter("Batch again: what has arrived since, beside what was restored")?;
    let run = namespace.batch_command("run", &[])?.run(BOUND).await?;
    narrator.quote("stitch-batch run", &run.output)?;
    done(&run)?;
    let compared = namespace.batch_command("compare", &[])?.run(BOUND).await?;
    narrator.quote("stitch-batch compare", &compared.output)?;
    done(&compared)
}

fn done(finished: &Finished) -> Result<()> {
    ensure!(
        finished.code == Some(0),
        "it exited with {:?}: {}",
        finished.code,
        finished.errors
    );
    Ok(())
}

fn conclusion<W: Write>(
    namespace: &TestNamespace,
    verified: bool,
    after: &Verdict,
    narrator: &mut Narrator<W>,
) -> Result<()> {
    narrator.say("")?;
    match (verified, after.all_right()) {
        (true, true) => narrator.say("Every cell is right.")?,
        (false, true) => {
            narrator.say("Every cell is right, but the restoration did not verify it.")?
        }
        (_, false) => narrator.say(&format!("Not every cell is right: {after}"))?,
    }
    narrator.say(&format!(
        "Logs, journal and configuration: {}",
        namespace.folder.display()
    ))?;
    Ok(())
}

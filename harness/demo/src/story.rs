//! The story: one function a chapter, in the order in which it is told.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::Record;
use stitch_harness::feed::{Feed, Live};
use stitch_harness::process::{Process, binary};
use stitch_harness::proxy::Proxy;
use stitch_harness::recount::Verdict;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use tokio::time::{sleep, timeout};

use crate::kept::Kept;
use crate::narrator::Narrator;
use crate::source::Source;
use crate::window::Window;

/// Nothing in the story takes longer than this, unless something is broken.
const BOUND: Duration = Duration::from_secs(120);
/// Longer than the sessions that the demo's ZooKeeper grants.
const PAST_THE_SESSION: Duration = Duration::from_secs(6);
const REPLIES_LOST: u64 = 10;
const BROKEN_EACH: usize = 25;

type Events = Box<dyn Iterator<Item = Record> + Send>;

/// One telling.
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

/// Events that arrive while the story goes on.
struct Traffic {
    feed: Feed,
    burst: usize,
    per_second: u32,
}

impl Traffic {
    fn flows(&self, events: Events) -> Live<Events> {
        self.feed.live(events, self.per_second)
    }
}

impl Story {
    /// Tells it; true if every cell is right in the end.
    pub(crate) async fn tell<W: Write>(
        self,
        source: Source,
        narrator: &mut Narrator<W>,
    ) -> Result<bool> {
        let stage = self.opens(&source, narrator).await?;
        let (mut fleet, window) = counting(&stage, source.history, narrator).await?;
        let traffic = Traffic {
            feed: stage.feed()?,
            burst: source.burst,
            per_second: source.per_second,
        };
        let live = misfortunes(&stage, &mut fleet, &traffic, source.live, narrator).await?;
        let (events, before) = self.vandalism(&stage, live, narrator).await?;
        let live = traffic.flows(events);
        let verified = restoration(&stage, &window, narrator).await?;
        let (rest, _) = live.stop().await?;
        if source.finite {
            traffic.feed.send(rest).await?;
        }
        let after = self.reckoning(&stage, fleet, &before, narrator).await?;
        conclusion(&stage, verified, &after, narrator)?;
        if self.keep {
            let per_second = (!source.finite).then_some(source.per_second);
            self.goes_on(&stage, window, per_second, narrator).await?;
        } else {
            window.close().await?;
        }
        Ok(verified && after.all_right())
    }

    async fn opens<W: Write>(
        &self,
        source: &Source,
        narrator: &mut Narrator<W>,
    ) -> Result<TestNamespace> {
        narrator.chapter("A namespace: a topic, a table, a place in ZooKeeper")?;
        narrator.say(&format!("The events are {}.", source.what))?;
        let setting = TestConfig {
            name: "demo".to_owned(),
            folder: self.folder.clone(),
            partitions: 4,
            config: source.counters.clone(),
        };
        let stage = TestNamespace::build(&self.servers, &setting).await?;
        narrator.say(&format!(
            "stitch-processor init made them, by {}.",
            stage.config.display()
        ))?;
        Ok(stage)
    }

    async fn vandalism<W: Write>(
        &self,
        stage: &TestNamespace,
        live: Live<Events>,
        narrator: &mut Narrator<W>,
    ) -> Result<(Events, Verdict)> {
        narrator.chapter("What must not happen, and does: somebody changes counts by hand")?;
        let mut vandal = Corruptor::enter(&self.servers, stage.keyspace(), self.seed).await?;
        let damage = vandal.rage(BROKEN_EACH).await?;
        narrator.say(&format!(
            "{} cells got 1000 added, {} were doubled, {} brought to 0, {} invented for keys that nobody has.",
            damage.added, damage.doubled, damage.zeroed, damage.invented
        ))?;
        narrator.say("The events pause for a moment, so that an independent recount can look.")?;
        let (events, _) = live.stop().await?;
        stage.lag()?.until_none(BOUND).await?;
        let before = stage.recount().await?;
        let total = before.total();
        narrator.say(&format!(
            "{} cells are right and {} are wrong:",
            total.right, total.wrong
        ))?;
        narrator.ways(&before)?;
        ensure!(
            total.wrong > 0,
            "nothing was broken, so nothing can be shown"
        );
        Ok((events, before))
    }

    async fn reckoning<W: Write>(
        &self,
        stage: &TestNamespace,
        fleet: Fleet,
        before: &Verdict,
        narrator: &mut Narrator<W>,
    ) -> Result<Verdict> {
        narrator.chapter("The reckoning")?;
        stage.lag()?.until_none(BOUND).await?;
        stage.stop([fleet.first, fleet.second]).await?;
        narrator
            .say("The events stop, all are counted, both processors were asked to end and did.")?;
        narrator
            .say("A recount that shares no code with Stitch reads the whole log and every cell.")?;
        let after = stage.recount().await?;
        narrator.table(before, &after)?;
        Ok(after)
    }

    /// Leaves all of it running; `per_second` new events, if these have no end.
    async fn goes_on<W: Write>(
        &self,
        stage: &TestNamespace,
        window: Window,
        per_second: Option<u32>,
        narrator: &mut Narrator<W>,
    ) -> Result<()> {
        narrator.chapter("It goes on, to look around")?;
        let mut kept = Kept::new(stage);
        for name in ["kept-1", "kept-2"] {
            kept.processor(name).await?;
        }
        if let Some(per_second) = per_second {
            // Others than before.
            kept.traffic(self.seed.wrapping_add(1), per_second)?;
            narrator.say(&format!("{per_second} made events arrive each second."))?;
        } else {
            narrator.say("All events of the file are counted; none are made up beside them.")?;
        }
        narrator.say(&format!("A timeline:           {}", window.timeline()))?;
        narrator.say(&format!("The operator's page:  {}", window.operator()))?;
        narrator.say(&format!(
            "Corrupt and restore as you like:  {} run --now --config {}",
            binary("stitch-restorator")?.display(),
            stage.config.display()
        ))?;
        kept.add("API", window.api);
        narrator.say(&format!("Running: {}.", kept.leave()?))?;
        narrator.say("All of it is stopped by  deploy/demo --stop")?;
        Ok(())
    }
}

async fn counting<W: Write>(
    stage: &TestNamespace,
    history: Vec<Record>,
    narrator: &mut Narrator<W>,
) -> Result<(Fleet, Window)> {
    narrator.chapter("Two processors count")?;
    let node = stage.servers.cassandra.first().context("a node")?;
    let proxy = Proxy::cassandra(node).await?;
    let fleet = Fleet {
        first: stage.processor("processor-1").await?,
        second: stage
            .processor_reaching("processor-2", &[proxy.address()])
            .await?,
        proxy,
    };
    let window = Window::open(stage, &history).await?;
    let sent = stage.feed()?.send(history).await?;
    narrator.say("Look, while they count:")?;
    narrator.say(&format!("  a timeline           {}", window.timeline()))?;
    narrator.say(&format!("  the operator's page  {}", window.operator()))?;
    stage.lag()?.until_none(BOUND).await?;
    let verdict = stage.recount().await?;
    ensure!(
        verdict.all_right(),
        "nothing has gone wrong yet, and still: {verdict}"
    );
    narrator.say(&format!(
        "{sent} events are counted, in {} cells. A recount says: all are right.",
        verdict.total().right
    ))?;
    Ok((fleet, window))
}

async fn misfortunes<W: Write>(
    stage: &TestNamespace,
    fleet: &mut Fleet,
    traffic: &Traffic,
    mut events: Events,
    narrator: &mut Narrator<W>,
) -> Result<Live<Events>> {
    narrator
        .chapter("What happens to everybody: replies are lost, processes die or stand still")?;
    narrator.say(&format!(
        "From now on {} events arrive each second.",
        traffic.per_second
    ))?;
    let burst: Vec<Record> = events.by_ref().take(traffic.burst).collect();
    let live = traffic.flows(events);

    fleet.proxy.lose_batch_replies(REPLIES_LOST);
    timeout(BOUND, fleet.proxy.until_all_are_lost())
        .await
        .context("no increments passed the proxy")?;
    narrator.say(&format!(
        "{REPLIES_LOST} replies of Cassandra to processor 2 were lost after the increments were applied: it cannot know."
    ))?;

    let lag = stage.lag()?;
    let sending = traffic.feed.send(burst);
    let killing = async {
        // In the midst of the burst: some of it is there, not all of it is counted.
        while lag.records().await? == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        fleet.first.kill().await
    };
    tokio::try_join!(sending, killing)?;
    fleet.first = stage.processor("processor-3").await?;
    narrator.say(
        "Processor 1 was killed (kill -9) while it was counting; processor 3 took its place.",
    )?;

    fleet.second.freeze()?;
    sleep(PAST_THE_SESSION).await;
    fleet.second.thaw()?;
    narrator.say(&format!(
        "Processor 2 stood still for {} s, longer than its session lives, and then went on.",
        PAST_THE_SESSION.as_secs()
    ))?;
    Ok(live)
}

async fn restoration<W: Write>(
    stage: &TestNamespace,
    window: &Window,
    narrator: &mut Narrator<W>,
) -> Result<bool> {
    narrator.chapter("The audit: stitch-restorator plan, while events keep arriving")?;
    narrator.say(
        "It locks nothing and changes no count. Requests of the dead may still be on their way:",
    )?;
    narrator.say("first it waits until none of them can change the store any more.")?;
    let plan = stage.restorator("plan", &[], BOUND).await?;
    narrator.quote("stitch-restorator plan", &plan.output)?;
    ensure!(
        plan.code == Some(1),
        "plan should end with 1, something is wrong, but ended with {:?}: {}",
        plan.code,
        plan.errors
    );

    narrator.chapter("The restoration: stitch-restorator run --now, while events keep arriving")?;
    narrator.say(&format!("Locks come and go: {}", window.operator()))?;
    let run = stage.restorator("run", &["--now"], BOUND).await?;
    narrator.quote("stitch-restorator run --now", &run.output)?;
    if run.code != Some(0) {
        narrator.quote("(its standard error)", &run.errors)?;
    }
    Ok(run.code == Some(0))
}

fn conclusion<W: Write>(
    stage: &TestNamespace,
    verified: bool,
    after: &Verdict,
    narrator: &mut Narrator<W>,
) -> Result<()> {
    narrator.say("")?;
    match (verified, after.all_right()) {
        (true, true) => narrator.say("Every cell is right.")?,
        (false, true) => {
            narrator.say("Every cell is right, but the restoration did not prove it.")?
        }
        (_, false) => narrator.say(&format!("Not every cell is right: {after}"))?,
    }
    narrator.say(&format!(
        "Logs, journal and configuration: {}",
        stage.folder.display()
    ))?;
    Ok(())
}

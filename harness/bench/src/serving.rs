//! (g): the API, against the bare driver reading the same, with many connections open, and under more load than it can
//! answer.

mod generator;
pub(crate) mod month;
mod site;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::Bench;
use crate::baseline::reads::{KEYS_AT_ONCE, Question};
use crate::baseline::{self, Measured};
use generator::Load;
pub(crate) use generator::Loaded;
use site::Site;

/// Keys of a page.
pub(crate) const KEYS: u32 = 200;
/// Requests that the API answers at once, by default; a page takes as many places as it reads keys at once.
const PLACES: usize = 512;
/// Questions on their way at once.
const ASKERS: u32 = 64;
/// The same for pages, each of which reads 32 keys at once.
const PAGE_ASKERS: u32 = 8;
/// Connections that are open.
pub(crate) const CONNECTIONS: u32 = 2000;
/// More than the API lets wait: almost all the connections that it takes.
const CROWD: u32 = 4000;
/// How much of what it can answer they ask for.
pub(crate) const SHARE_ASKED: f64 = 0.5;
/// Times as much as it can answer.
pub(crate) const TOO_MUCH: f64 = 3.0;
/// Of a list of questions by chance, hardly any two on their way at once may be the same.
const COALESCED_SHARE_MAX: f64 = 0.05;

/// One question, asked of both.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Answered {
    pub(crate) bare: Measured,
    pub(crate) api: Loaded,
    /// Seconds of a processor that the API has used.
    pub(crate) api_cpu_seconds: f64,
}

impl Answered {
    pub(crate) fn share_of_bare(&self) -> f64 {
        self.api.per_second() / self.bare_per_second()
    }

    pub(crate) fn bare_per_second(&self) -> f64 {
        self.bare.requests / self.bare.seconds
    }
}

/// Many connections, each of which asks now and then.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Open {
    pub(crate) asked_per_second: f64,
    /// As the API counted them in the midst of it.
    pub(crate) connections: f64,
    pub(crate) memory_mib: f64,
    pub(crate) idle_memory_mib: f64,
    pub(crate) loaded: Loaded,
}

/// As much as it can answer, and more.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Overload {
    pub(crate) connections: u32,
    pub(crate) once_asked: f64,
    pub(crate) once: Loaded,
    pub(crate) more_asked: f64,
    pub(crate) more: Loaded,
}

impl Overload {
    pub(crate) fn kept(&self) -> f64 {
        self.more.per_second() / self.once.per_second()
    }
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Serving {
    pub(crate) tracks: u32,
    pub(crate) count: Answered,
    pub(crate) series: Answered,
    pub(crate) counts: Answered,
    pub(crate) open: Open,
    pub(crate) overload: Overload,
    pub(crate) overload_crowd: Overload,
    pub(crate) overload_pages: Overload,
}

/// Measures all of it.
pub(crate) async fn measure(bench: &mut Bench, oha: &Path) -> Result<Serving> {
    let sizes = bench.sizes.clone();
    bench.say(&format!(
        "filling a table with {} tracks",
        sizes.served_tracks
    ))?;
    let stage = bench.stage("serving", "").await?;
    let tracks = sizes.served_tracks.to_string();
    baseline::run(bench, stage.keyspace(), &["fill", "--tracks", &tracks]).await?;
    let site = Site::open(stage, sizes.served_tracks, oha).await?;
    site.answers_what_is_there().await?;
    let mut all = Serving {
        tracks: sizes.served_tracks,
        ..Serving::default()
    };
    for round in 1..=sizes.rounds {
        for (question, sum) in [
            (Question::Count, &mut all.count),
            (Question::Series, &mut all.series),
            (Question::Counts, &mut all.counts),
        ] {
            bench.say(&format!("round {round}: {question:?}, bare driver and API"))?;
            let one = answered(bench, &site, question).await?;
            sum.bare += one.bare;
            sum.api += one.api;
            sum.api_cpu_seconds += one.api_cpu_seconds;
        }
    }
    bench.say(&format!("{CONNECTIONS} connections"))?;
    all.open = open(&site, all.count.api.per_second(), sizes.serve_measure).await?;
    bench.say("more than can be answered: counts")?;
    let (time, few, crowd) = (sizes.serve_measure, CONNECTIONS, CROWD);
    all.overload = overload(&site, Question::Count, PLACES, few, time).await?;
    all.overload_crowd = overload(&site, Question::Count, PLACES, crowd, time).await?;
    bench.say("more than can be answered: pages")?;
    let places = PLACES / KEYS_AT_ONCE;
    all.overload_pages = overload(&site, Question::Counts, places, few, time).await?;
    site.close().await?;
    Ok(all)
}

async fn answered(bench: &Bench, site: &Site, question: Question) -> Result<Answered> {
    let (name, keys, at_once) = match question {
        Question::Count => ("count", 1, ASKERS),
        Question::Series => ("series", 1, ASKERS),
        Question::Counts => ("counts", KEYS, PAGE_ASKERS),
    };
    let (keys, askers) = (keys.to_string(), at_once.to_string());
    let tracks = site.tracks.to_string();
    let arguments = [
        "read",
        "--question",
        name,
        "--tracks",
        &tracks,
        "--keys",
        &keys,
        "--at-once",
        &askers,
    ];
    let times = (bench.sizes.serve_warm_up, bench.sizes.serve_measure);
    let bare = baseline::run_for(bench, site.stage.keyspace(), &arguments, times).await?;
    let load = |time| Load {
        connections: at_once,
        rate: None,
        time,
    };
    site.ask(question, load(times.0)).await?;
    let before = site.used().await?;
    let api = site.ask(question, load(times.1)).await?;
    let used = site.used().await?.since(&before);
    ensure!(
        api.failed == 0.0 && api.refused == 0.0,
        "the API refused or failed {question:?}: {api:?}"
    );
    ensure!(
        used.coalesced <= (used.coalesced + used.reads) * COALESCED_SHARE_MAX,
        "{} reads were spared by {} others: that is not what the bare driver did",
        used.coalesced,
        used.reads
    );
    Ok(Answered {
        bare,
        api,
        api_cpu_seconds: used.cpu_seconds,
    })
}

/// Half of what it can answer, by many.
async fn open(site: &Site, capacity: f64, time: Duration) -> Result<Open> {
    let idle_memory_mib = site.memory_mib()?;
    let asked_per_second = capacity * SHARE_ASKED;
    // Each of them is opened by its first request.
    let opened = Duration::from_secs_f64(f64::from(CONNECTIONS) * 2.0 / asked_per_second);
    let time = time.max(opened);
    let load = Load {
        connections: CONNECTIONS,
        rate: Some(asked_per_second),
        time,
    };
    let look = async {
        tokio::time::sleep(time * 4 / 5).await;
        anyhow::Ok((site.connections().await?, site.memory_mib()?))
    };
    let (loaded, looked) = tokio::join!(site.ask(Question::Count, load), look);
    let (loaded, (connections, memory_mib)) = (loaded?, looked?);
    ensure!(
        connections >= f64::from(CONNECTIONS),
        "only {connections} connections were open"
    );
    Ok(Open {
        asked_per_second,
        connections,
        memory_mib,
        idle_memory_mib,
        loaded,
    })
}

/// As much as it can answer is asked for, and several times as much; whoever asks waits for nobody. How much that is, those
/// tell who take all `places` and ask again as soon as they are answered.
async fn overload(
    site: &Site,
    question: Question,
    places: usize,
    connections: u32,
    time: Duration,
) -> Result<Overload> {
    let busy = Load {
        connections: u32::try_from(places)?,
        rate: None,
        time,
    };
    let capacity = site.ask(question, busy).await?.per_second();
    let ask = async |times: f64| {
        let load = Load {
            connections,
            rate: Some(capacity * times),
            time,
        };
        site.ask(question, load).await
    };
    Ok(Overload {
        connections,
        once_asked: capacity,
        once: ask(1.0).await?,
        more_asked: capacity * TOO_MUCH,
        more: ask(TOO_MUCH).await?,
    })
}

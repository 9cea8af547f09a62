use std::sync::atomic::{AtomicUsize, Ordering};

use metrics_exporter_prometheus::PrometheusBuilder;
use stitch_batch::record::BatchRecord;
use stitch_common::ports::TableIdentity;
use stitch_config::Environment;
use stitch_protocol::envelope;
use stitch_testkit::tokio_clock::TokioClock;
use tracing::span;

use super::*;
use crate::freshness::State;
use crate::testing::world::World;

fn config(batch: &str) -> Config {
    let text = include_str!("../../../deploy/stitch.toml");
    let environment = batch.split(' ').filter_map(|pair| pair.split_once('='));
    let environment: Environment = environment.collect();
    Config::parse("stitch.toml", text, &environment).unwrap()
}

const BOTH: &str = "STITCH_BATCH__ENABLED=true";
const PURE: &str = "STITCH_BATCH__ENABLED=true STITCH_BATCH__REALTIME=false";

fn record() -> BatchRecord {
    let table = TableIdentity {
        cluster: "cassandra".to_owned(),
        table: Default::default(),
    };
    BatchRecord::new(table, "stitch".to_owned())
}

fn damaged() -> Vec<u8> {
    let mut bytes = envelope::seal(&record());
    bytes[3] ^= 1;
    bytes
}

/// Counts what operators must act on.
#[derive(Clone, Default)]
struct Errors(Arc<AtomicUsize>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if *event.metadata().level() == tracing::Level::ERROR {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Runs `test`, and returns how many errors it has logged. Every test here does: a line that is first reached on a thread
/// without a subscriber is logged for none.
fn errors_of(test: impl Future<Output = ()>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let errors = Errors::default();
    tracing::subscriber::with_default(errors.clone(), || runtime.unwrap().block_on(test));
    errors.0.load(Ordering::SeqCst)
}

/// Polls, and returns what is published.
async fn polled<K: ZooKeeper, L: EventLog, C: Clock>(
    poller: &mut FreshnessPoller<'_, K, L, C>,
) -> Arc<FreshnessSnapshot> {
    assert_eq!(poller.poll().await, Ok(()));
    Arc::clone(&poller.subscribe().borrow())
}

#[test]
fn a_record_of_batch_that_cannot_be_used_is_a_failure_of_batch_alone() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let config = config(BOTH);
    let world = World::new(&config);
    let path = world.paths.batch();
    let test = async {
        let clock = TokioClock::start();
        let mut poller = FreshnessPoller::new(&config, &world, &world, clock);
        world.put(&path, &envelope::seal(&record()));
        let usable = polled(&mut poller).await;
        assert_eq!(
            usable.batch().record().map(|known| &**known),
            Some(&record())
        );
        let of_realtime = usable.summary(clock.now());
        assert_eq!(usable.table(), Some(&record().table));
        assert_eq!(of_realtime.0.state, State::Live);
        for refuses in [false, true] {
            world.put(&path, &damaged());
            world.refuse(refuses.then(|| path.clone()));
            let unusable = polled(&mut poller).await;
            let failure = unusable.batch().failure().unwrap();
            assert!(failure.message.contains(&path), "{failure}");
            assert!(unusable.batch().record().is_none());
            assert_eq!(unusable.failure(), None);
            assert_eq!(unusable.summary(clock.now()), of_realtime);
            polled(&mut poller).await;
            assert!(
                rendered
                    .render()
                    .contains("stitch_api_batch_record_usable 0")
            );
        }
        world.refuse(None);
        world.put(&path, &envelope::seal(&record()));
        assert!(polled(&mut poller).await.batch().record().is_some());
        assert!(
            rendered
                .render()
                .contains("stitch_api_batch_record_usable 1")
        );
    };
    let errors = ::metrics::with_local_recorder(&recorder, || errors_of(test));
    assert_eq!(errors, 2, "once for each reason");
}

/// The alert that freshness is unknown goes by them.
#[test]
fn gauges_say_what_answers_say() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let ranges = |state: &str| {
        let line = format!("stitch_api_ranges{{state=\"{state}\"}} ");
        let text = rendered.render();
        let value = text.lines().find_map(|shown| shown.strip_prefix(&line));
        value.map(str::to_owned)
    };
    let ranges = |states: [&str; 2]| states.map(|state| ranges(state).unwrap_or_default());
    let known = ["live", "unknown"];
    let config_of_both = config(BOTH);
    let world = World::new(&config_of_both);
    let test = async {
        let clock = TokioClock::start();
        let mut poller = FreshnessPoller::new(&config_of_both, &world, &world, clock);
        assert_eq!(ranges(known), ["0", "64"], "before the first poll");
        polled(&mut poller).await;
        assert_eq!(ranges(known), ["64", "0"]);
        world.silence();
        polled(&mut poller).await;
        tokio::time::advance(Duration::from_secs(11)).await;
        polled(&mut poller).await;
        assert_eq!(ranges(known), ["0", "64"], "while ZooKeeper is away");
        assert!(rendered.render().contains("stitch_api_behind_events NaN"));
    };
    ::metrics::with_local_recorder(&recorder, || errors_of(test));
    // Nothing is counted in real time, and nothing of that is unknown.
    let config = config(PURE);
    let world = World::new(&config);
    let test = async {
        let clock = TokioClock::start();
        let mut poller = FreshnessPoller::new(&config, &world, &world, clock);
        polled(&mut poller).await;
        assert_eq!(ranges(known), ["0", "0"], "purely in batch");
    };
    ::metrics::with_local_recorder(&recorder, || errors_of(test));
}

#[test]
fn purely_in_batch_a_record_that_cannot_be_used_is_known_to_be_unusable() {
    let config = config(PURE);
    let world = World::new(&config);
    world.put(&world.paths.batch(), &damaged());
    let errors = errors_of(async {
        let clock = TokioClock::start();
        let mut poller = FreshnessPoller::new(&config, &world, &world, clock);
        let snapshot = polled(&mut poller).await;
        assert!(snapshot.is_known(clock.now()));
        assert!(snapshot.batch().failure().is_some());
        // There is none that is counted in.
        assert_eq!(snapshot.table(), None);
    });
    assert_eq!(errors, 1);
}

#[test]
fn an_unanswered_request_for_the_record_of_batch_leaves_all_freshness_unknown() {
    let config = config(BOTH);
    let world = World::new(&config);
    world.put(&world.paths.batch(), &envelope::seal(&record()));
    let errors = errors_of(async {
        let clock = TokioClock::start();
        let mut poller = FreshnessPoller::new(&config, &world, &world, clock);
        world.lose(Some(world.paths.batch()));
        let snapshot = polled(&mut poller).await;
        assert_eq!(snapshot.failure(), Some("ZooKeeper cannot be read"));
        assert!(snapshot.batch().failure().is_none());
        assert!(!snapshot.is_known(clock.now()));
    });
    assert_eq!(errors, 0);
}

#[test]
fn freshness_is_known_again_soon_after_a_server_that_did_not_answer_does() {
    let config = config(BOTH);
    let world = World::new(&config);
    world.lose(Some(world.paths.batch()));
    errors_of(async {
        let clock = TokioClock::start();
        let poller = FreshnessPoller::new(&config, &world, &world, clock);
        let mut snapshots = poller.subscribe();
        let test = async {
            let failed = snapshots.wait_for(|snapshot| snapshot.failure().is_some());
            failed.await.unwrap();
            world.lose(None);
            let answers_again = clock.now();
            let known = snapshots.wait_for(|snapshot| snapshot.is_known(clock.now()));
            known.await.unwrap();
            let took = clock.now().since(answers_again);
            assert!(took <= 2 * PAUSE, "{took:?}");
        };
        tokio::select! {
            refused = poller.run() => panic!("{refused:?}"),
            () = test => {}
        }
    });
}

#[test]
fn the_pause_after_a_slow_poll_does_not_outlast_what_was_read() {
    let age_when_read_again = |took| pause(took, false) + took;
    for ms in [0, 10, 111, 112, 500, 1000, 3000, 5000] {
        let took = Duration::from_millis(ms);
        let age = age_when_read_again(took);
        assert!(age < Duration::from_secs(10), "{took:?}: {age:?}");
        assert!(pause(took, false) >= PAUSE);
        assert_eq!(pause(took, true), PAUSE);
    }
    assert!(pause(Duration::from_millis(200), false) > PAUSE);
}

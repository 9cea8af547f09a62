use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use stitch_config::Environment;
use stitch_testkit::tokio_clock::TokioClock;
use tokio::time::Instant;

use super::*;
use crate::testing::healthy;
use crate::testing::world::World;

const POLL_TIME: Duration = Duration::from_millis(100);

/// Runs the cache during `work`, and returns the number of polls.
async fn polls(cache: &StatusCache, work: impl Future<Output = ()>) -> usize {
    polls_taking(POLL_TIME, cache, work).await
}

/// As [`polls`], where each poll takes `time`.
async fn polls_taking(
    time: Duration,
    cache: &StatusCache,
    work: impl Future<Output = ()>,
) -> usize {
    let polls = AtomicUsize::new(0);
    let poll = async || {
        polls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        Ok(healthy())
    };
    let clock = TokioClock::start();
    tokio::select! {
        () = work => {}
        never = cache.run(&clock, poll) => match never {},
    }
    polls.into_inner()
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_share_one_snapshot() {
    let cache = StatusCache::default();
    let count = polls(&cache, async {
        let early = join_all((0..50).map(|_| cache.latest()));
        let late = async {
            pass(POLL_TIME / 2).await;
            cache.latest().await
        };
        let (early, late) = tokio::join!(early, late);
        for snapshot in &early {
            assert!(Arc::ptr_eq(snapshot, &late));
            assert_eq!(snapshot.status, Ok(healthy()));
        }
    });
    assert_eq!(count.await, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_polled_without_requests() {
    let cache = StatusCache::default();
    let count = polls(&cache, pass(Duration::from_secs(60)));
    assert_eq!(count.await, 0);
    let count = polls(&cache, async {
        cache.latest().await;
        pass(Duration::from_secs(60)).await;
    });
    assert_eq!(count.await, 1, "no further request");
    let count = polls(&cache, async {
        tokio::time::timeout(POLL_TIME / 2, cache.latest())
            .await
            .unwrap_err();
        pass(Duration::from_secs(60)).await;
    });
    assert_eq!(count.await, 1, "the request was cancelled");
}

#[tokio::test(start_paused = true)]
async fn polls_run_about_once_a_second_however_many_requests_there_are() {
    let cache = StatusCache::default();
    let count = polls(&cache, async {
        // Ten seconds, with a hundred requests in each.
        for _ in 0..1000 {
            cache.latest().await;
            pass(Duration::from_millis(10)).await;
        }
    });
    let count = count.await;
    assert!((9..=11).contains(&count), "{count} polls");
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_a_slow_poll_is_served_twice_as_long_as_it_took() {
    let time = Duration::from_secs(3);
    let cache = StatusCache::default();
    let count = polls_taking(time, &cache, async {
        let before = cache.latest().await;
        pass(2 * time - POLL_TIME).await;
        assert!(Arc::ptr_eq(&before, &cache.latest().await));
        pass(2 * POLL_TIME).await;
        assert!(!Arc::ptr_eq(&before, &cache.latest().await));
    });
    assert_eq!(count.await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_snapshot_is_not_served() {
    let cache = StatusCache::default();
    polls(&cache, async {
        let before = cache.latest().await;
        pass(MAX_AGE / 2).await;
        assert!(Arc::ptr_eq(&before, &cache.latest().await));
        pass(MAX_AGE).await;
        assert!(!Arc::ptr_eq(&before, &cache.latest().await));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_error_is_served_and_the_next_poll_may_succeed() {
    let cache = StatusCache::default();
    let mut polls = 0;
    let poll = async || {
        polls += 1;
        match polls {
            1 => Err(UserError::new("gone", "wait")),
            _ => Ok(healthy()),
        }
    };
    let requests = async {
        let snapshot = cache.latest().await;
        assert_eq!(snapshot.status, Err(UserError::new("gone", "wait")));
        pass(MAX_AGE * 2).await;
        assert_eq!(cache.latest().await.status, Ok(healthy()));
    };
    let clock = TokioClock::start();
    tokio::select! {
        () = requests => {}
        never = cache.run(&clock, poll) => match never {},
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_times_out_and_the_next_one_opens_a_new_session() {
    let text = include_str!("../../../deploy/stitch.toml");
    let config = Config::parse("stitch.toml", text, &Environment::default()).unwrap();
    let zookeeper = World::new(&config);
    zookeeper.silence();
    let mut poller = StatusPoller::new(&config, &zookeeper, TokioClock::start());
    for polls in 1..=2 {
        let start = Instant::now();
        let error = poller.poll().await.unwrap_err();
        assert_eq!(start.elapsed(), config.api.request_timeout / 2);
        assert!(error.message.contains("did not answer within 2500 ms"));
        assert_eq!(zookeeper.sessions(), polls);
    }
}

mod silence;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use stitch_common::clock::Moment;
use stitch_common::config::Environment;
use tokio::time::Instant;

use super::*;
use crate::testing::well;
use silence::Silence;

const TAKES: Duration = Duration::from_millis(100);

/// The time of tokio, which a test drives.
#[derive(Clone)]
struct Driven(Instant);

impl Driven {
    fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Driven {
    fn now(&self) -> Moment {
        Moment::new(self.0.elapsed())
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// What is done while somebody keeps looking, and how often that one has looked.
async fn looked(landscape: &StatusCache, work: impl Future<Output = ()>) -> usize {
    looked_for(TAKES, landscape, work).await
}

/// The same, where each look takes so long.
async fn looked_for(
    takes: Duration,
    landscape: &StatusCache,
    work: impl Future<Output = ()>,
) -> usize {
    let looks = AtomicUsize::new(0);
    let look = async || {
        looks.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(takes).await;
        Ok(well())
    };
    let clock = Driven::begin();
    tokio::select! {
        () = work => {}
        never = landscape.keep(&clock, look) => match never {},
    }
    looks.into_inner()
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn one_look_is_shown_to_all_who_ask_at_the_same_moment() {
    let landscape = StatusCache::default();
    let looks = looked(&landscape, async {
        let early = join_all((0..50).map(|_| landscape.latest()));
        let late = async {
            pass(TAKES / 2).await;
            landscape.latest().await
        };
        let (early, late) = tokio::join!(early, late);
        for seen in &early {
            assert!(Arc::ptr_eq(seen, &late));
            assert_eq!(seen.status, Ok(well()));
        }
    });
    assert_eq!(looks.await, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_while_nobody_asks() {
    let landscape = StatusCache::default();
    let looks = looked(&landscape, pass(Duration::from_secs(60)));
    assert_eq!(looks.await, 0);
    let looks = looked(&landscape, async {
        landscape.latest().await;
        pass(Duration::from_secs(60)).await;
    });
    assert_eq!(looks.await, 1, "nobody asked again");
    let looks = looked(&landscape, async {
        tokio::time::timeout(TAKES / 2, landscape.latest())
            .await
            .unwrap_err();
        pass(Duration::from_secs(60)).await;
    });
    assert_eq!(looks.await, 1, "whoever asked has gone");
}

#[tokio::test(start_paused = true)]
async fn however_often_somebody_asks_it_is_looked_at_about_once_a_second() {
    let landscape = StatusCache::default();
    let looks = looked(&landscape, async {
        // Ten seconds, in each of which a hundred times is asked.
        for _ in 0..1000 {
            landscape.latest().await;
            pass(Duration::from_millis(10)).await;
        }
    });
    let looks = looks.await;
    assert!((9..=11).contains(&looks), "{looks} looks");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_takes_long_is_shown_twice_as_long() {
    let takes = Duration::from_secs(3);
    let landscape = StatusCache::default();
    let looks = looked_for(takes, &landscape, async {
        let before = landscape.latest().await;
        pass(2 * takes - TAKES).await;
        assert!(Arc::ptr_eq(&before, &landscape.latest().await));
        pass(2 * TAKES).await;
        assert!(!Arc::ptr_eq(&before, &landscape.latest().await));
    });
    assert_eq!(looks.await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_not_shown() {
    let landscape = StatusCache::default();
    looked(&landscape, async {
        let before = landscape.latest().await;
        pass(SHOWN_FOR / 2).await;
        assert!(Arc::ptr_eq(&before, &landscape.latest().await));
        pass(SHOWN_FOR).await;
        assert!(!Arc::ptr_eq(&before, &landscape.latest().await));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn why_nothing_was_seen_is_shown_and_it_is_tried_again() {
    let landscape = StatusCache::default();
    let mut looks = 0;
    let look = async || {
        looks += 1;
        match looks {
            1 => Err(UserError::new("gone", "wait")),
            _ => Ok(well()),
        }
    };
    let asking = async {
        let seen = landscape.latest().await;
        assert_eq!(seen.status, Err(UserError::new("gone", "wait")));
        pass(SHOWN_FOR * 2).await;
        assert_eq!(landscape.latest().await.status, Ok(well()));
    };
    let clock = Driven::begin();
    tokio::select! {
        () = asking => {}
        never = landscape.keep(&clock, look) => match never {},
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_not_answered_ends_in_time_and_the_next_one_has_a_session_of_its_own() {
    let text = include_str!("../../../deploy/stitch.toml");
    let config = Config::parse("stitch.toml", text, &Environment::default()).unwrap();
    let zookeeper = Silence::default();
    let mut lookout = StatusPoller::new(&config, &zookeeper, Driven::begin());
    for looks in 1..=2 {
        let began = Instant::now();
        let failure = lookout.look().await.unwrap_err();
        assert_eq!(began.elapsed(), config.api.request_timeout / 2);
        assert!(
            failure
                .to_string()
                .contains("did not answer within 2500 ms")
        );
        assert_eq!(zookeeper.sessions(), looks);
    }
}

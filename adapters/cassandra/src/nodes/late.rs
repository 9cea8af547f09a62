//! Asks again what was not answered in time: a busy machine makes one answer late, and the next one comes.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::StoreError;

/// An attempt that fails sooner was not late, but turned down: to repeat it would not help.
const LATE: Duration = Duration::from_millis(800);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// The answer of the first attempt that has one; none begins after `patience`. Cancelled, it leaves nothing behind.
///
/// # Errors
/// The last attempt's, if all of them were late; at once what is no matter of time.
pub(super) async fn ask_again<T, C: Clock>(
    clock: &C,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let began = clock.now();
    loop {
        let asked = clock.now();
        // Boxed, because the compiler limits how deep futures nest.
        let answer = Box::pin(attempt()).await;
        let now = clock.now();
        let is_late = matches!(answer, Err(StoreError::Unavailable(_))) && now.since(asked) >= LATE;
        if !is_late || now.since(began) >= patience {
            return answer;
        }
        tracing::debug!("no node has answered in time; asking again");
        clock.sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use chrono::{DateTime, Utc};
    use futures_util::FutureExt;
    use stitch_common::clock::Moment;

    use super::*;

    /// Time that passes by sleeping alone.
    #[derive(Clone, Default)]
    struct FakeClock(Rc<Cell<Duration>>);

    impl Clock for FakeClock {
        fn now(&self) -> Moment {
            Moment::new(self.0.get())
        }

        fn wall(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }

        async fn sleep(&self, duration: Duration) {
            self.0.set(self.0.get() + duration);
        }
    }

    /// What comes of attempts that take `takes` each, of which those before the `answered`-th fail with `error`, and how
    /// many there were.
    fn asked(takes: Duration, answered: u32, error: &StoreError) -> (Result<(), StoreError>, u32) {
        let clock = FakeClock::default();
        let mut attempts = 0;
        let answer = ask_again(&clock, Duration::from_secs(20), async || {
            attempts += 1;
            clock.sleep(takes).await;
            if attempts < answered {
                Err(error.clone())
            } else {
                Ok(())
            }
        });
        let answer = answer.now_or_never().expect("nothing waits");
        (answer, attempts)
    }

    fn late() -> StoreError {
        StoreError::Unavailable("no answer in time".to_owned())
    }

    #[test]
    fn an_answer_that_is_late_once_is_asked_for_again() {
        assert_eq!(asked(Duration::from_secs(5), 2, &late()), (Ok(()), 2));
    }

    #[test]
    fn an_answer_that_stays_late_is_given_up_within_a_bound() {
        let (answer, attempts) = asked(Duration::from_secs(5), u32::MAX, &late());
        assert_eq!((answer, attempts), (Err(late()), 4));
    }

    #[test]
    fn nodes_that_turn_down_are_not_asked_again() {
        let refused = StoreError::Refused("no such table".to_owned());
        for (takes, error) in [
            (Duration::from_millis(10), late()),
            (Duration::from_secs(5), refused),
        ] {
            assert_eq!(asked(takes, u32::MAX, &error), (Err(error), 1));
        }
    }
}

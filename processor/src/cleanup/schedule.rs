//! Chooses the moments at which a member cleans up.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_protocol::{NamespaceSession, membership};

/// When one member cleans up: soon after it has joined, and now and then. Every pause is random and as much longer as
/// there are more members, so that the fleet as a whole cleans up about as often as one member alone would, and its
/// members not at the same time, even when all of them have lost their sessions at once.
#[derive(Debug)]
pub(super) struct Schedule {
    random: u64,
    mean: Duration,
}

impl Schedule {
    /// How long after the start of a fleet one of its members cleans up, on average.
    const FIRST: Duration = Duration::from_millis(200);
    /// How often one member of the fleet cleans up, on average.
    const INTERVAL: Duration = Duration::from_secs(60);

    /// The schedule of a new member.
    pub(super) fn new<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Self {
        Self {
            random: session.zookeeper().id().cast_unsigned(),
            mean: Self::FIRST,
        }
    }

    /// The next pause of one member among this many.
    pub(super) fn pause(&mut self, members: usize) -> Duration {
        let mean = std::mem::replace(&mut self.mean, Self::INTERVAL);
        let members = u32::try_from(members).unwrap_or(u32::MAX).max(1);
        // Uniform between nothing and twice the mean.
        let parts = u32::try_from(self.random() >> 48).expect("16 bits fit in 32");
        (mean * 2).saturating_mul(members) / (1 << 16) * parts
    }

    /// SplitMix64: members differ by their sessions, and a simulation repeats itself.
    const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Waits for the next moment. Cancelled, that moment is lost, and another one is chosen.
    pub(super) async fn next<S: Session, C: Clock>(&mut self, session: &NamespaceSession<S, C>) {
        // Without an answer it comes early, once.
        let members = membership::alive(session)
            .await
            .map_or(1, |alive| alive.len());
        session.clock().sleep(self.pause(members)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_cleans_up_as_often_as_one_member_would_however_many_there_are() {
        for members in [1_u32, 50, 1000] {
            let mut sum = Duration::ZERO;
            let mut schedules: Vec<_> = (0..1000)
                .map(|random| Schedule {
                    random,
                    mean: Schedule::INTERVAL,
                })
                .collect();
            for schedule in &mut schedules {
                sum += schedule.pause(members.try_into().unwrap());
            }
            let mean = sum / 1000 / members;
            let most = Schedule::INTERVAL * 11 / 10;
            assert!(
                (Schedule::INTERVAL * 9 / 10..most).contains(&mean),
                "{mean:?}"
            );
        }
    }

    #[test]
    fn a_member_that_starts_cleans_up_soon_and_then_now_and_then() {
        let mut schedule = Schedule {
            random: 7,
            mean: Schedule::FIRST,
        };
        let pauses: Vec<_> = (0..100).map(|_| schedule.pause(1)).collect();
        assert!(pauses[0] <= 2 * Schedule::FIRST);
        assert!(
            pauses[1..]
                .iter()
                .all(|pause| *pause <= 2 * Schedule::INTERVAL)
        );
        assert!(pauses[1..].iter().any(|pause| *pause > Schedule::INTERVAL));
        assert_ne!(pauses[1], pauses[2]);
    }
}

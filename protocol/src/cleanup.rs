//! Cleans up after dead members: in-doubt markers and dead members are read, a quiescence barrier begins after that, and
//! only then they are deleted, by name (rules R1, R2, R6): markers leave doubts of their ranges, dead members what their
//! partitions say (see [`uncertainty`](crate::uncertainty)). A restoration does so before it relies on the store;
//! processors do so in the background, one at a time ([`run`]), at the moments that [`Schedule`] chooses.

use std::time::Duration;

use futures_util::future::try_join_all;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::member::MemberId;
use stitch_common::ports::{Cql, Nodes, Session, StoreError};
use stitch_common::range::RangeId;

use crate::in_doubt::{self, InDoubtMarker};
use crate::known_nodes;
use crate::lock::Lock;
use crate::membership::{self, RemoveOutcome};
use crate::namespace_session::NamespaceSession;
use crate::path;
use crate::quiescence::{DeclaredDead, NodeSet, QuiescenceError, Request, await_quiescence};

/// In-doubt markers and dead members that were found and not yet waited out: a request of theirs may still change the
/// store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InDoubt {
    /// The dead members.
    pub dead_members: Vec<MemberId>,
    /// The in-doubt markers.
    pub markers: Vec<InDoubtMarker>,
}

impl InDoubt {
    /// Reads the dead members, and the markers of these ranges.
    ///
    /// # Errors
    /// [`crate::Error::NotInitialised`].
    pub async fn read<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, crate::Error> {
        let dead_members = membership::dead(session).await?;
        let reads = ranges
            .into_iter()
            .map(|range| in_doubt::list(session, range));
        let markers = try_join_all(reads).await?;
        Ok(Self {
            dead_members: dead_members.into_iter().collect(),
            markers: markers.into_iter().flatten().collect(),
        })
    }

    /// Whether nothing was found.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.dead_members.is_empty() && self.markers.is_empty()
    }

    /// Awaits the `barrier`, which so begins after this was read, then deletes what was found, by name. Waits for nothing
    /// if nothing was found. If the barrier fails, all of it stays; cancelled, some of it.
    pub async fn wait_out<S: Session, C: Clock, E: From<crate::Error>>(
        &self,
        session: &NamespaceSession<S, C>,
        barrier: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            return Ok(());
        }
        barrier().await?;
        for marker in &self.markers {
            in_doubt::delete(session, marker).await?;
        }
        for member in &self.dead_members {
            if membership::remove(session, member).await? == RemoveOutcome::Alive {
                tracing::warn!(%member, "dead member is alive again; left in place");
            }
        }
        Ok(())
    }
}

/// Why nothing was cleaned up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// ZooKeeper failed.
    #[error(transparent)]
    Coordination(#[from] crate::Error),
    /// Cassandra failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There was no quiescence.
    #[error(transparent)]
    Quiescence(#[from] QuiescenceError),
}

/// What a member cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum CleanupOutcome {
    /// This was waited out and deleted; it may be nothing.
    Deleted(InDoubt),
    /// Another member is at it.
    Busy,
}

/// Waits out and deletes the dead members and the markers of all ranges, unless another member does so already: each
/// barrier asks every node again and again, and one is enough. Cancelled, some of what was found stays, and the entry in
/// the queue until the session ends.
///
/// # Errors
/// A server failed, or there was no quiescence: what was not deleted stays.
pub async fn run<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Result<CleanupOutcome, Error> {
    // These two are only reads: most often there is nothing to do, or somebody does it.
    if !session
        .children(&session.paths().cleanup())
        .await?
        .is_empty()
    {
        return Ok(CleanupOutcome::Busy);
    }
    let found = InDoubt::read(session, config.definitions.range_bits.ranges()).await?;
    if found.is_empty() {
        return Ok(CleanupOutcome::Deleted(found));
    }
    let mut turn = Turn::new(session);
    let waits = turn.lock().poll_granted(session).await?.is_some();
    let outcome = if waits {
        Ok(CleanupOutcome::Busy)
    } else {
        wait_out(session, cql, config, found).await
    };
    turn.lock().release(session).await?;
    outcome
}

async fn wait_out<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
    found: InDoubt,
) -> Result<CleanupOutcome, Error> {
    let barrier = async || {
        let nodes = cql.connect_nodes().await?;
        let mut known = NodeSet::default();
        known.learn(&nodes.ring().await?);
        // Only now: the barrier concerns every member that exists as it begins.
        let timeout = config.restorator.quiescence_timeout;
        let nobody = DeclaredDead::default();
        let request = Request::now(session, &config.cassandra, nobody, timeout).await?;
        let clock = session.clock();
        let quiescence =
            await_quiescence(&nodes, session, clock, &mut known, &request, |_| {}).await?;
        tracing::debug!(took_ms = quiescence.took().as_millis(), "quiescence");
        known_nodes::forget(session, quiescence.dead_nodes()).await?;
        Ok::<_, Error>(())
    };
    found.wait_out(session, barrier).await?;
    Ok(CleanupOutcome::Deleted(found))
}

/// Marks the lock that lets one member at a time clean up.
struct Cleanup;

/// A member's entry among those that clean up. Nothing depends on it but the load, so dropping it is harmless: its node
/// lives as long as the session.
struct Turn(Option<Lock<Cleanup>>);

impl Turn {
    fn new<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Self {
        let guid = session.next_guid();
        let directory = session.paths().cleanup();
        let entry = path::name::exclusive_entry(guid);
        Self(Some(Lock::with_target(Cleanup, directory, entry, guid)))
    }

    const fn lock(&mut self) -> &mut Lock<Cleanup> {
        self.0.as_mut().expect("it is taken out only by the drop")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.abandon();
        }
    }
}

/// When one member cleans up: soon after it has joined, and now and then. Every pause is random and as much longer as
/// there are more members, so that the fleet as a whole cleans up about as often as one member alone would, and its
/// members not at the same time, even when all of them have lost their sessions at once.
#[derive(Debug)]
pub struct Schedule {
    random: u64,
    mean: Duration,
}

impl Schedule {
    /// How long after the start of a fleet one of its members cleans up, on average.
    pub const FIRST: Duration = Duration::from_millis(200);
    /// How often one member of the fleet cleans up, on average.
    pub const INTERVAL: Duration = Duration::from_secs(60);

    /// The schedule of a new member.
    pub fn new<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Self {
        Self {
            random: session.zookeeper().id().cast_unsigned(),
            mean: Self::FIRST,
        }
    }

    /// The next pause of one member among this many.
    pub fn pause(&mut self, members: usize) -> Duration {
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
    pub async fn next<S: Session, C: Clock>(&mut self, session: &NamespaceSession<S, C>) {
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

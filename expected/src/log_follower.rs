//! Follows the log, once for all ranges: from the base cut on, while everything else happens, so that under a range's lock
//! only the last events below the ceiling have to be waited for.
//!
//! It decides nothing: the meaning of an event is the totals' business, how far to wait the caller's.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{AssignmentEpoch, Feed, FeedEvent};
use stitch_common::range::RangeId;
use stitch_common::wait::yield_now;
use tokio::sync::Notify;

use crate::expected_error::ExpectedError;
use crate::range_totals::AdvanceError;
use crate::totals_by_range::TotalsByRange;

/// The totals as read so far, and how far that is.
#[derive(Debug)]
pub struct LogFollower {
    totals: RefCell<TotalsByRange>,
    state: RefCell<State>,
    /// The ends that are waited for, by the number of the wait.
    waits: RefCell<BTreeMap<u64, Offsets>>,
    /// Notified when something was read, or reading failed.
    moved: Notify,
    /// Notified when a partition is to be read that was not before.
    added: Notify,
}

/// Keeps the cuts of some ranges where they are.
#[derive(Debug)]
pub struct HeldCuts<'a> {
    follower: &'a LogFollower,
    ranges: Vec<RangeId>,
}

impl Drop for HeldCuts<'_> {
    fn drop(&mut self) {
        let mut totals = self.follower.totals_mut();
        for range in &self.ranges {
            totals.of_mut(*range).free_cut();
        }
    }
}

#[derive(Debug)]
struct State {
    /// Everything below these offsets was read.
    positions: BTreeMap<Partition, Offset>,
    /// Partitions to start, and from where.
    unstarted: BTreeMap<Partition, Offset>,
    failed: Option<ExpectedError>,
}

/// A wait, as long as it lasts.
struct Wait<'a> {
    follower: &'a LogFollower,
    number: u64,
}

impl<'a> Wait<'a> {
    fn begin(follower: &'a LogFollower, ends: &Offsets) -> Self {
        let mut waits = follower.waits.borrow_mut();
        let number = waits.last_key_value().map_or(0, |(last, _)| last + 1);
        waits.insert(number, ends.clone());
        Self { follower, number }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.follower.waits.borrow_mut().remove(&self.number);
    }
}

const EPOCH: AssignmentEpoch = AssignmentEpoch(1);

impl LogFollower {
    /// A follower that starts at `from`: `totals` has every event below.
    pub fn new(totals: RefCell<TotalsByRange>, from: &Offsets) -> Self {
        Self {
            totals,
            state: RefCell::new(State {
                positions: from.0.clone(),
                unstarted: from.0.clone(),
                failed: None,
            }),
            waits: RefCell::default(),
            moved: Notify::new(),
            added: Notify::new(),
        }
    }

    /// Reads on while it is polled, from where an earlier call ended. A failure is returned to every caller of
    /// [`LogFollower::reach`].
    pub async fn follow<F: Feed>(&self, mut feed: F) -> Infallible {
        {
            let state = &mut *self.state.borrow_mut();
            state.unstarted.clone_from(&state.positions);
        }
        loop {
            let added = self.added.notified();
            let starts = std::mem::take(&mut self.state.borrow_mut().unstarted);
            for (partition, from) in starts {
                if let Err(error) = feed.start(partition, from, EPOCH) {
                    self.fail(error.into());
                }
            }
            // Both are cancel-safe: a delivery stays in the feed, a partition to start in the state.
            let event = match select(pin!(feed.next()), pin!(added)).await {
                Either::Left((event, _)) => event,
                Either::Right(((), _)) => continue,
            };
            self.handle(event);
            self.moved.notify_waiters();
            yield_now().await;
        }
    }

    /// Waits until everything below `ends` was read. Cancel-safe.
    ///
    /// # Errors
    /// The log could not be read on, and never will be by this follower.
    pub async fn reach(&self, ends: &Offsets) -> Result<(), ExpectedError> {
        self.start_new(ends);
        let _wait = Wait::begin(self, ends);
        loop {
            let moved = self.moved.notified();
            if let Some(failed) = &self.state.borrow().failed {
                return Err(failed.clone());
            }
            if self.behind(ends).is_empty() {
                return Ok(());
            }
            moved.await;
        }
    }

    /// The partitions that are not read up to these ends, and how far each is read.
    pub fn behind(&self, ends: &Offsets) -> BTreeMap<Partition, Offset> {
        let positions = &self.state.borrow().positions;
        let at = |partition| positions.get(partition).copied().unwrap_or_default();
        let ends = ends.0.iter();
        let behind = ends.filter(|(partition, end)| at(partition) < **end);
        behind
            .map(|(partition, _)| (*partition, at(partition)))
            .collect()
    }

    /// Advances the cut of `range`, and waits until its totals are complete.
    ///
    /// # Errors
    /// The cut does not advance, or the log could not be read.
    pub async fn advance<E>(&self, range: RangeId, cut: &Offsets) -> Result<(), E>
    where
        E: From<AdvanceError> + From<ExpectedError>,
    {
        self.totals_mut().of_mut(range).advance(cut)?;
        self.reach(cut).await?;
        Ok(())
    }

    /// Holds the cuts of these ranges, because cells are judged by them, until the returned guard is dropped.
    pub fn hold_cuts(&self, ranges: &[RangeId]) -> HeldCuts<'_> {
        let mut totals = self.totals_mut();
        for range in ranges {
            totals.of_mut(*range).hold_cut();
        }
        HeldCuts {
            follower: self,
            ranges: ranges.to_vec(),
        }
    }

    /// Waits until the increments at or above the cuts take more than `bytes`. Cancel-safe.
    pub async fn has_above_cuts(&self, bytes: usize) {
        loop {
            let moved = self.moved.notified();
            if self.totals().bytes_above_cuts() > bytes {
                return;
            }
            moved.await;
        }
    }

    /// Merges the sorted runs of the totals while it is polled, whenever there are many.
    ///
    /// # Errors
    /// None: a failure is returned to every caller of [`LogFollower::reach`].
    pub async fn merge_runs(&self) -> Infallible {
        loop {
            let moved = self.moved.notified();
            if let Err(error) = TotalsByRange::merge_runs(&self.totals).await {
                self.fail(error.into());
            }
            moved.await;
        }
    }

    /// The totals, to be shared.
    pub const fn shared_totals(&self) -> &RefCell<TotalsByRange> {
        &self.totals
    }

    pub fn totals(&self) -> Ref<'_, TotalsByRange> {
        self.totals.borrow()
    }

    /// The totals, to change them. Not to be held across an `.await`.
    pub fn totals_mut(&self) -> RefMut<'_, TotalsByRange> {
        self.totals.borrow_mut()
    }

    /// The partitions that [`LogFollower::reach`] is waiting for now, and how far each has been read.
    pub fn awaited(&self) -> BTreeMap<Partition, Offset> {
        let (waits, state) = (self.waits.borrow(), self.state.borrow());
        let ends = waits.values().flat_map(|ends| &ends.0);
        let positions = ends.filter_map(|(partition, end)| {
            let position = state.positions.get(partition).copied().unwrap_or_default();
            (position < *end).then_some((*partition, position))
        });
        positions.collect()
    }

    fn start_new(&self, ends: &Offsets) {
        let state = &mut *self.state.borrow_mut();
        for &partition in ends.0.keys() {
            if let Entry::Vacant(position) = state.positions.entry(partition) {
                position.insert(Offset(0));
                state.unstarted.insert(partition, Offset(0));
                self.added.notify_one();
            }
        }
    }

    fn handle(&self, event: FeedEvent) {
        match event {
            FeedEvent::Records {
                partition, records, ..
            } => {
                if let Err(error) = self.totals.borrow_mut().add(partition, &records) {
                    self.fail(error);
                }
                if let Some(last) = records.last() {
                    self.advance_position(partition, last.offset.next());
                }
            }
            FeedEvent::EndReached {
                partition,
                end_offset,
                ..
            } => self.advance_position(partition, end_offset),
            FeedEvent::Unreadable { error, .. } => self.fail(error.into()),
            FeedEvent::Ended(error) => self.fail(error.into()),
            FeedEvent::Trouble(error) => tracing::warn!(%error, "following the log"),
        }
    }

    fn advance_position(&self, partition: Partition, position: Offset) {
        let positions = &mut self.state.borrow_mut().positions;
        let at = positions.entry(partition).or_default();
        *at = position.max(*at);
    }

    fn fail(&self, error: ExpectedError) {
        tracing::warn!(%error, "the log cannot be followed");
        self.state.borrow_mut().failed.get_or_insert(error);
        self.moved.notify_waiters();
    }
}

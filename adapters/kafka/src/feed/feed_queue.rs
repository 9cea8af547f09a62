//! The queue between the thread that polls Kafka's client and the program: commands one way, deliveries the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, FeedEvent, LogError};

/// Bytes of deliveries that may be queued. At the bound the thread stops polling, and then the client stops fetching.
pub(super) const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Memory of a delivery without its records.
const DELIVERY_BYTES: usize = 128;

/// How long the thread sleeps at most before it polls the client again.
const IDLE_MAX: Duration = Duration::from_millis(50);

/// A command of the program to the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Deliver this partition from this offset, labelled with this epoch.
    Start {
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    },
    /// Deliver it no more.
    Stop { partition: Partition },
}

/// The next step of the thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// These commands first, then poll if there is room.
    Go {
        commands: Vec<Command>,
        /// Whether more deliveries may be queued.
        room: bool,
    },
    /// The program has closed the feed.
    End,
}

/// Commands and deliveries between the program and the thread.
#[derive(Debug, Default)]
pub(super) struct FeedQueue {
    state: Mutex<State>,
    thread: Condvar,
    program: Notify,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    /// The started partitions. Deliveries of any other epoch are dropped here.
    epochs: BTreeMap<Partition, AssignmentEpoch>,
    deliveries: VecDeque<(usize, FeedEvent)>,
    bytes: usize,
    /// Whether the client has fetched something since the last poll.
    fetched: bool,
    life: Life,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Running,
    /// The program has closed the feed.
    Closed,
    /// The thread has ended although the program has not closed the feed; not reported yet.
    Ended,
    /// As before, and reported to the program.
    EndReported,
}

impl FeedQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No update can be left half done, so the state is consistent even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the thread a command; `false` if the thread has ended.
    ///
    /// Queued deliveries of a partition that is started or stopped are dropped at once, so none of an earlier epoch can
    /// be delivered afterwards.
    pub(super) fn command(&self, command: Command) -> bool {
        let mut state = self.lock();
        if state.life != Life::Running {
            return false;
        }
        match command {
            Command::Start {
                partition, epoch, ..
            } => {
                state.epochs.insert(partition, epoch);
                state.drop_deliveries(partition);
            }
            Command::Stop { partition } => {
                state.epochs.remove(&partition);
                state.drop_deliveries(partition);
            }
        }
        state.commands.push(command);
        drop(state);
        self.thread.notify_one();
        true
    }

    /// Queues a delivery, unless its epoch is over.
    pub(super) fn deliver(&self, record_bytes: usize, event: FeedEvent) {
        let mut state = self.lock();
        if let Some((partition, epoch)) = assignment_of(&event)
            && state.epochs.get(&partition) != Some(&epoch)
        {
            return;
        }
        if let (FeedEvent::Trouble(new), Some((_, FeedEvent::Trouble(last)))) =
            (&event, state.deliveries.back())
            && new == last
        {
            return;
        }
        let bytes = record_bytes.saturating_add(DELIVERY_BYTES);
        state.bytes = state.bytes.saturating_add(bytes);
        state.deliveries.push_back((bytes, event));
        drop(state);
        self.program.notify_one();
    }

    /// The next delivery. Cancel-safe: nothing is awaited between taking and returning it.
    pub(super) async fn next(&self) -> FeedEvent {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            self.program.notified().await;
        }
    }

    fn take(&self) -> Option<FeedEvent> {
        let mut state = self.lock();
        if let Some((bytes, event)) = state.deliveries.pop_front() {
            let was_full = state.bytes >= QUEUE_BYTES_MAX;
            state.bytes = state.bytes.saturating_sub(bytes);
            let has_room = state.bytes < QUEUE_BYTES_MAX;
            drop(state);
            if was_full && has_room {
                self.thread.notify_one();
            }
            return Some(event);
        }
        if state.life == Life::Ended {
            state.life = Life::EndReported;
            let ended = "the feed's thread has ended; create a new feed".to_owned();
            return Some(FeedEvent::Ended(LogError::Unavailable(ended)));
        }
        None
    }

    /// The next step of the thread. Sleeps until there is something to do, unless `busy`.
    pub(super) fn work(&self, busy: bool) -> Work {
        let mut state = self.lock();
        if !busy && !state.has_work() {
            let waited = self
                .thread
                .wait_timeout_while(state, IDLE_MAX, |state| !state.has_work());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else if busy && !state.has_room() && state.commands.is_empty() {
            let waited = self.thread.wait_timeout_while(state, IDLE_MAX, |state| {
                !state.has_room() && state.commands.is_empty() && state.life == Life::Running
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.life != Life::Running {
            return Work::End;
        }
        state.fetched = false;
        let room = state.has_room();
        Work::Go {
            commands: std::mem::take(&mut state.commands),
            room,
        }
    }

    /// The client has fetched something; called by its own threads.
    pub(super) fn notify_fetched(&self) {
        self.lock().fetched = true;
        self.thread.notify_one();
    }

    /// The program closes the feed.
    pub(super) fn close(&self) {
        self.lock().life = Life::Closed;
        self.thread.notify_one();
    }

    /// The thread has ended.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if state.life == Life::Running {
            state.life = Life::Ended;
        }
        drop(state);
        self.program.notify_one();
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.bytes < QUEUE_BYTES_MAX
    }

    fn has_work(&self) -> bool {
        !self.commands.is_empty() || self.life != Life::Running || (self.fetched && self.has_room())
    }

    fn drop_deliveries(&mut self, partition: Partition) {
        self.deliveries.retain(|(_, event)| {
            assignment_of(event).is_none_or(|(delivered, _)| delivered != partition)
        });
        self.bytes = self.deliveries.iter().map(|(bytes, _)| bytes).sum();
    }
}

fn assignment_of(event: &FeedEvent) -> Option<(Partition, AssignmentEpoch)> {
    match event {
        FeedEvent::Records {
            partition, epoch, ..
        }
        | FeedEvent::EndReached {
            partition, epoch, ..
        } => Some((*partition, *epoch)),
        FeedEvent::Unreadable { epoch, error } => Some((error.partition, *epoch)),
        FeedEvent::Trouble(_) | FeedEvent::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Partition = Partition(1);
    const TWO: Partition = Partition(2);

    fn start(partition: Partition, epoch: u64) -> Command {
        Command::Start {
            partition,
            from: Offset(0),
            epoch: AssignmentEpoch(epoch),
        }
    }

    fn end(partition: Partition, epoch: u64) -> FeedEvent {
        FeedEvent::EndReached {
            partition,
            epoch: AssignmentEpoch(epoch),
            end_offset: Offset(7),
        }
    }

    fn deliveries(queue: &FeedQueue) -> Vec<(Partition, AssignmentEpoch)> {
        std::iter::from_fn(|| queue.take())
            .filter_map(|event| assignment_of(&event))
            .collect()
    }

    #[test]
    fn a_start_drops_queued_and_late_deliveries_of_earlier_epochs() {
        let queue = FeedQueue::default();
        assert!(queue.command(start(ONE, 1)));
        assert!(queue.command(start(TWO, 1)));
        queue.deliver(10, end(ONE, 1));
        queue.deliver(10, end(TWO, 1));
        assert!(queue.command(start(ONE, 2)));
        queue.deliver(10, end(ONE, 1));
        queue.deliver(10, end(ONE, 2));
        assert_eq!(
            deliveries(&queue),
            [(TWO, AssignmentEpoch(1)), (ONE, AssignmentEpoch(2))]
        );
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn a_stop_drops_queued_deliveries() {
        let queue = FeedQueue::default();
        assert!(queue.command(start(ONE, 1)));
        queue.deliver(10, end(ONE, 1));
        assert!(queue.command(Command::Stop { partition: ONE }));
        queue.deliver(10, end(ONE, 1));
        assert_eq!(deliveries(&queue), []);
    }

    #[test]
    fn there_is_room_until_the_bound_is_reached_and_again_below_it() {
        let queue = FeedQueue::default();
        assert!(queue.command(start(ONE, 1)));
        let room = |queue: &FeedQueue| matches!(queue.work(true), Work::Go { room: true, .. });
        queue.deliver(QUEUE_BYTES_MAX - 2 * DELIVERY_BYTES, end(ONE, 1));
        assert!(room(&queue));
        queue.deliver(0, end(ONE, 1));
        assert!(!room(&queue));
        assert!(queue.take().is_some());
        assert!(room(&queue));
    }

    #[test]
    fn commands_reach_the_thread_in_order_even_when_there_is_no_room() {
        let queue = FeedQueue::default();
        assert!(queue.command(start(ONE, 1)));
        queue.deliver(QUEUE_BYTES_MAX, end(ONE, 1));
        let stop = Command::Stop { partition: TWO };
        assert!(queue.command(stop));
        assert!(queue.command(start(TWO, 1)));
        let commands = vec![start(ONE, 1), stop, start(TWO, 1)];
        assert_eq!(
            queue.work(false),
            Work::Go {
                commands,
                room: false
            }
        );
    }

    #[test]
    fn a_closed_feed_ends_the_thread_and_refuses_commands() {
        let queue = FeedQueue::default();
        queue.close();
        assert_eq!(queue.work(false), Work::End);
        assert!(!queue.command(start(ONE, 1)));
    }

    #[tokio::test]
    async fn the_end_of_the_thread_is_reported_once_after_its_deliveries() {
        let queue = FeedQueue::default();
        assert!(queue.command(start(ONE, 1)));
        queue.deliver(0, end(ONE, 1));
        queue.end();
        assert!(matches!(queue.next().await, FeedEvent::EndReached { .. }));
        assert!(matches!(
            queue.next().await,
            FeedEvent::Ended(LogError::Unavailable(_))
        ));
        assert!(queue.take().is_none());
        assert!(!queue.command(start(ONE, 2)));
    }
}

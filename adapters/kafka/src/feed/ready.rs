//! What lies ready between the thread that polls Kafka's client and the program: commands one way, deliveries the other,
//! both bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, FeedEvent, LogError};

/// Bytes of deliveries that may lie ready. At the bound the thread stops polling, and then the client stops fetching.
pub(super) const READY_BYTES_MAX: usize = 4 << 20;

/// What a delivery takes beside its records.
const DELIVERY_BYTES: usize = 128;

/// How long the thread rests at most before it looks at the client again.
const REST: Duration = Duration::from_millis(50);

/// What the program wants of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Deliver this partition from there.
    Start {
        /// Which.
        partition: Partition,
        /// From where.
        from: Offset,
        /// Under this number.
        epoch: AssignmentEpoch,
    },
    /// Deliver it no more.
    Stop {
        /// Which.
        partition: Partition,
    },
}

/// What the thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// These commands first, then poll if there is room.
    Go {
        /// In the order in which they were given.
        commands: Vec<Command>,
        /// Whether more deliveries may be made ready.
        room: bool,
    },
    /// The program has let go of the feed.
    End,
}

/// Both ways between the thread and the program.
#[derive(Debug, Default)]
pub(super) struct Ready {
    state: Mutex<State>,
    thread: Condvar,
    program: Notify,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    /// What is started, under which number: deliveries of any other run are dropped here.
    runs: BTreeMap<Partition, AssignmentEpoch>,
    deliveries: VecDeque<(usize, FeedEvent)>,
    bytes: usize,
    /// The client has something since the thread last looked.
    fetched: bool,
    life: Life,
}

/// How far the feed has come.
#[derive(Debug, Default, PartialEq, Eq)]
enum Life {
    /// Thread and program are there.
    #[default]
    Running,
    /// The program has let go.
    Closed,
    /// The thread has ended though the program has not let go; not told yet.
    Ended,
    /// As before, and the program was told.
    Told,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done, so what a panicking thread leaves behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the thread a command; `false` if there is no thread any more.
    ///
    /// What lies ready of a partition that is started or stopped is dropped at once, so nothing of an earlier run can
    /// be delivered from here on.
    pub(super) fn command(&self, command: Command) -> bool {
        let mut state = self.lock();
        if state.life != Life::Running {
            return false;
        }
        match command {
            Command::Start {
                partition, epoch, ..
            } => {
                state.runs.insert(partition, epoch);
                state.forget(partition);
            }
            Command::Stop { partition } => {
                state.runs.remove(&partition);
                state.forget(partition);
            }
        }
        state.commands.push(command);
        drop(state);
        self.thread.notify_one();
        true
    }

    /// Makes a delivery ready, unless its run is over.
    pub(super) fn deliver(&self, record_bytes: usize, event: FeedEvent) {
        let mut state = self.lock();
        if let Some((partition, epoch)) = belongs_to(&event)
            && state.runs.get(&partition) != Some(&epoch)
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

    /// The next delivery. Cancel-safe: it is taken and returned without a wait in between.
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
            let was_full = state.bytes >= READY_BYTES_MAX;
            state.bytes = state.bytes.saturating_sub(bytes);
            let has_room = state.bytes < READY_BYTES_MAX;
            drop(state);
            if was_full && has_room {
                self.thread.notify_one();
            }
            return Some(event);
        }
        if state.life == Life::Ended {
            state.life = Life::Told;
            let ended = "the feed's thread has ended; make a new feed".to_owned();
            return Some(FeedEvent::Trouble(LogError::Refused(ended)));
        }
        None
    }

    /// What the thread does next. With `busy` it does not rest, otherwise until there is something to do.
    pub(super) fn work(&self, busy: bool) -> Work {
        let mut state = self.lock();
        if !busy && !state.has_work() {
            let rested = self
                .thread
                .wait_timeout_while(state, REST, |state| !state.has_work());
            state = rested.unwrap_or_else(PoisonError::into_inner).0;
        } else if busy && !state.has_room() && state.commands.is_empty() {
            let rested = self.thread.wait_timeout_while(state, REST, |state| {
                !state.has_room() && state.commands.is_empty() && state.life == Life::Running
            });
            state = rested.unwrap_or_else(PoisonError::into_inner).0;
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

    /// The client has something: called by its own threads.
    pub(super) fn fetched(&self) {
        self.lock().fetched = true;
        self.thread.notify_one();
    }

    /// The program lets go.
    pub(super) fn close(&self) {
        self.lock().life = Life::Closed;
        self.thread.notify_one();
    }

    /// The thread ends.
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
        self.bytes < READY_BYTES_MAX
    }

    fn has_work(&self) -> bool {
        !self.commands.is_empty() || self.life != Life::Running || (self.fetched && self.has_room())
    }

    fn forget(&mut self, partition: Partition) {
        self.deliveries.retain(|(_, event)| {
            belongs_to(event).is_none_or(|(delivered, _)| delivered != partition)
        });
        self.bytes = self.deliveries.iter().map(|(bytes, _)| bytes).sum();
    }
}

fn belongs_to(event: &FeedEvent) -> Option<(Partition, AssignmentEpoch)> {
    match event {
        FeedEvent::Records {
            partition, epoch, ..
        }
        | FeedEvent::EndReached {
            partition, epoch, ..
        }
        | FeedEvent::Gone {
            partition, epoch, ..
        } => Some((*partition, *epoch)),
        FeedEvent::Trouble(_) => None,
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

    fn taken(ready: &Ready) -> Vec<(Partition, AssignmentEpoch)> {
        std::iter::from_fn(|| ready.take())
            .filter_map(|event| belongs_to(&event))
            .collect()
    }

    #[test]
    fn a_start_drops_what_lies_ready_of_earlier_runs_and_what_still_comes_of_them() {
        let ready = Ready::default();
        assert!(ready.command(start(ONE, 1)));
        assert!(ready.command(start(TWO, 1)));
        ready.deliver(10, end(ONE, 1));
        ready.deliver(10, end(TWO, 1));
        assert!(ready.command(start(ONE, 2)));
        ready.deliver(10, end(ONE, 1));
        ready.deliver(10, end(ONE, 2));
        assert_eq!(
            taken(&ready),
            [(TWO, AssignmentEpoch(1)), (ONE, AssignmentEpoch(2))]
        );
        assert_eq!(ready.lock().bytes, 0);
    }

    #[test]
    fn a_stop_drops_what_lies_ready() {
        let ready = Ready::default();
        assert!(ready.command(start(ONE, 1)));
        ready.deliver(10, end(ONE, 1));
        assert!(ready.command(Command::Stop { partition: ONE }));
        ready.deliver(10, end(ONE, 1));
        assert_eq!(taken(&ready), []);
    }

    #[test]
    fn there_is_room_until_the_bound_is_reached_and_again_below_it() {
        let ready = Ready::default();
        assert!(ready.command(start(ONE, 1)));
        let room = |ready: &Ready| matches!(ready.work(true), Work::Go { room: true, .. });
        ready.deliver(READY_BYTES_MAX - 2 * DELIVERY_BYTES, end(ONE, 1));
        assert!(room(&ready));
        ready.deliver(0, end(ONE, 1));
        assert!(!room(&ready));
        assert!(ready.take().is_some());
        assert!(room(&ready));
    }

    #[test]
    fn commands_reach_the_thread_in_their_order_even_when_there_is_no_room() {
        let ready = Ready::default();
        assert!(ready.command(start(ONE, 1)));
        ready.deliver(READY_BYTES_MAX, end(ONE, 1));
        let stop = Command::Stop { partition: TWO };
        assert!(ready.command(stop));
        assert!(ready.command(start(TWO, 1)));
        let commands = vec![start(ONE, 1), stop, start(TWO, 1)];
        assert_eq!(
            ready.work(false),
            Work::Go {
                commands,
                room: false
            }
        );
    }

    #[test]
    fn a_closed_feed_ends_the_thread_and_takes_no_command() {
        let ready = Ready::default();
        ready.close();
        assert_eq!(ready.work(false), Work::End);
        assert!(!ready.command(start(ONE, 1)));
    }

    #[tokio::test]
    async fn a_thread_that_ended_is_told_once_behind_what_it_delivered() {
        let ready = Ready::default();
        assert!(ready.command(start(ONE, 1)));
        ready.deliver(0, end(ONE, 1));
        ready.end();
        assert!(matches!(ready.next().await, FeedEvent::EndReached { .. }));
        assert!(matches!(
            ready.next().await,
            FeedEvent::Trouble(LogError::Refused(_))
        ));
        assert!(ready.take().is_none());
        assert!(!ready.command(start(ONE, 2)));
    }
}

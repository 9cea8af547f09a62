//! The lease and the shutdown flag of this process (rule P3). The heartbeat is driven in the same future as everything
//! else: whatever stops the sending part stops it, too.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::lease::{Lease, Permit};
use stitch_common::ports::{Session, SessionState};
use stitch_protocol::{Error, NamespaceSession, membership};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Why work ends before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The session with ZooKeeper is over: its locks and its membership are gone.
    Lost,
    /// The operator asked for it by a signal.
    Stopped,
    /// An operator asked for it by `abort`.
    Aborted,
    /// An operator wants it to wait, by `pause` or `hold-until`: it begins again later.
    Paused,
}

/// Keeps the lease of a member, and knows whether its process is to stop.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    lease: RefCell<Lease>,
    lost: Cell<bool>,
    lost_notify: Notify,
    stop: CancellationToken,
    in_doubt: Cell<u32>,
}

impl LeaseKeeper {
    /// For a new member with this lease.
    #[must_use]
    pub(crate) fn new(lease: Lease, stop: CancellationToken) -> Self {
        Self {
            lease: RefCell::new(lease),
            lost: Cell::new(false),
            lost_notify: Notify::new(),
            stop,
            in_doubt: Cell::new(0),
        }
    }

    /// Permission to send something that changes the store, if the lease is valid now.
    pub(crate) fn permit<C: Clock>(&self, clock: &C) -> Option<Permit> {
        if self.lost.get() {
            return None;
        }
        self.lease.borrow().permit(clock.now())
    }

    /// Notes a request in doubt without a marker: the member has to stay as a dead member.
    pub(crate) fn note_in_doubt(&self) {
        self.in_doubt.set(self.in_doubt.get() + 1);
    }

    /// Notes that a marker covers such a request now.
    pub(crate) fn note_marker(&self) {
        self.in_doubt.set(self.in_doubt.get().saturating_sub(1));
    }

    /// Whether the member has to stay as a dead member.
    #[must_use]
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.get() > 0
    }

    /// Whether work has to end now.
    #[must_use]
    pub(crate) fn interruption(&self) -> Option<Interruption> {
        if self.lost.get() {
            Some(Interruption::Lost)
        } else {
            self.stop.is_cancelled().then_some(Interruption::Stopped)
        }
    }

    /// Whether the operator asked the work to end.
    #[must_use]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// What is cancelled when the operator asks the work to end.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits until the operator asks the work to end. Cancel-safe.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until work has to end. Cancel-safe.
    pub(crate) async fn interrupted(&self) -> Interruption {
        let lost = self.lost_notify.notified();
        if let Some(interruption) = self.interruption() {
            return interruption;
        }
        match select(pin!(lost), pin!(self.stop.cancelled())).await {
            Either::Left(_) => Interruption::Lost,
            Either::Right(_) => Interruption::Stopped,
        }
    }

    /// Writes heartbeats while it is polled.
    pub(crate) async fn keep<S: Session, C: Clock>(
        &self,
        session: &NamespaceSession<S, C>,
    ) -> Infallible {
        loop {
            match session.zookeeper().state() {
                SessionState::Connected => {
                    self.lease.borrow_mut().reconnected();
                    self.beat(session).await;
                }
                SessionState::Disconnected => {
                    self.lease.borrow_mut().disconnected();
                    session
                        .zookeeper()
                        .state_other_than(SessionState::Disconnected)
                        .await;
                }
                SessionState::Over => {
                    self.lose();
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Heartbeats while the connection lasts.
    async fn beat<S: Session, C: Clock>(&self, session: &NamespaceSession<S, C>) {
        let beating = async {
            loop {
                let sent = session.clock().now();
                match membership::heartbeat(session).await {
                    Ok(_) => self.lease.borrow_mut().renew(sent),
                    Err(Error::Lost { .. } | Error::SessionOver) => self.lose(),
                    Err(error) => tracing::warn!(%error, "heartbeat not acknowledged"),
                }
                let interval = self.lease.borrow().heartbeat_interval();
                session.clock().sleep(interval).await;
            }
        };
        // Dropping a heartbeat is as if it had failed; the change of state is what matters then.
        let changed = session
            .zookeeper()
            .state_other_than(SessionState::Connected);
        match select(pin!(beating), pin!(changed)).await {
            Either::Left(((), _)) | Either::Right(_) => {}
        }
    }

    /// Ends the work of this session, so that it is closed: what no request releases ends with it.
    pub(crate) fn give_up_session(&self) {
        self.lost.set(true);
        self.lost_notify.notify_waiters();
    }

    fn lose(&self) {
        if !self.lost.get() {
            tracing::warn!("the session with zookeeper is over: nothing is sent any more");
        }
        self.give_up_session();
    }
}

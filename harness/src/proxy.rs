//! A TCP proxy that injects network faults: delays, black holes, cut connections, lost requests and replies.
//!
//! With one Cassandra node the driver uses the configured address only; with several it connects to every peer's own
//! address, at the configured port. So a proxy for each node, on that node's address and on a common port other than
//! the servers', carries all requests.

mod cql;
mod http;
mod kafka;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use cql::Batches;
use kafka::PortRewrite;

/// How often the sender of held data is checked for a reset.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How the proxy treats data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards at once.
    Pass,
    /// Forwards each piece after this time.
    Delay(Duration),
    /// Holds everything, in both directions; it is forwarded when the mode changes, as when a network recovers.
    Blackhole,
    /// Forwards requests, holds replies.
    Deaf,
    /// Closes connections, also new ones.
    Refuse,
}

/// A proxy; it stops when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    /// Incremented to close every open connection.
    cuts: watch::Sender<u64>,
    requests: Losses,
    replies: Losses,
    requests_held: http::Requests,
}

/// Counts batches, or replies to batches, that are lost.
#[derive(Debug, Default)]
struct Losses {
    left: AtomicU64,
    lost: watch::Sender<u64>,
}

/// The protocol that the proxy decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Protocol {
    Bytes,
    Cql,
    Http,
    Kafka(PortRewrite),
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of any server.
    pub async fn start(server: &str) -> Result<Self> {
        Self::listen(bound("127.0.0.1:0").await?, server, Protocol::Bytes)
    }

    /// Starts a proxy on a free port of 127.0.0.1 in front of an HTTP server that takes one request of each connection; it
    /// recognizes requests.
    pub async fn http(server: &str) -> Result<Self> {
        Self::listen(bound("127.0.0.1:0").await?, server, Protocol::Http)
    }

    /// Starts a proxy on a free port of the broker's host. It replaces the broker's address in responses by its own, so
    /// that clients stay with it.
    pub async fn kafka(broker: &str) -> Result<Self> {
        let (host, port) = broker.rsplit_once(':').context("host:port of a broker")?;
        let listener = bound(&format!("{host}:0")).await?;
        let rewrite = PortRewrite::new(host, port.parse()?, listener.local_addr()?.port());
        Self::listen(listener, broker, Protocol::Kafka(rewrite))
    }

    /// Starts a proxy on a free port of 127.0.0.1 in front of a Cassandra node; it recognizes batches and their replies.
    pub async fn cassandra(server: &str) -> Result<Self> {
        Self::cassandra_at("127.0.0.1:0", server).await
    }

    /// As [`Self::cassandra`], at a given address.
    pub async fn cassandra_at(address: &str, server: &str) -> Result<Self> {
        Self::listen(bound(address).await?, server, Protocol::Cql)
    }

    fn listen(listener: TcpListener, server: &str, protocol: Protocol) -> Result<Self> {
        let shared = Arc::new(Shared {
            mode: watch::Sender::new(Mode::Pass),
            cuts: watch::Sender::new(0),
            requests: Losses::default(),
            replies: Losses::default(),
            requests_held: http::Requests::default(),
        });
        let ends = CancellationToken::new();
        let proxy = Self {
            address: listener.local_addr()?,
            shared: Arc::clone(&shared),
            _ends: ends.clone().drop_guard(),
        };
        let server = server.to_owned();
        tokio::spawn(async move {
            // Both branches are cancel-safe: an accept that is dropped leaves the connection in the queue.
            while let Some(Ok((client, _))) = ends.run_until_cancelled(listener.accept()).await {
                let connection = carry(
                    client,
                    server.clone(),
                    Arc::clone(&shared),
                    protocol.clone(),
                );
                let ends = ends.clone();
                // A connection ends with either side; how it ends does not matter here.
                tokio::spawn(async move { ends.run_until_cancelled(connection).await });
            }
        });
        Ok(proxy)
    }

    /// The address on which it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes the mode, also for open connections.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    /// Closes every open connection.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Loses the replies to the next `count` batches; the batches themselves arrive and are applied.
    pub fn lose_batch_replies(&self, count: u64) {
        self.shared.replies.expect(count);
    }

    /// Loses the next `count` batches before they arrive.
    pub fn lose_batches(&self, count: u64) {
        self.shared.requests.expect(count);
    }

    /// Cancels all losses that have not happened yet.
    pub fn lose_nothing_more(&self) {
        for losses in [&self.shared.requests, &self.shared.replies] {
            losses.left.store(0, Ordering::SeqCst);
        }
    }

    /// The number of batches and replies to batches that were lost so far.
    pub fn lost(&self) -> u64 {
        *self.shared.requests.lost.borrow() + *self.shared.replies.lost.borrow()
    }

    /// Holds HTTP requests of this method whose path has this text, once `after` of them have passed.
    pub fn hold_requests(&self, method: &str, path: &str, after: u64) {
        self.shared.requests_held.hold(method, path, after);
    }

    /// Loses the requests that are held, and holds no more.
    pub fn lose_held_requests(&self) {
        self.cut();
        self.shared.requests_held.hold_nothing();
    }

    /// The number of HTTP requests that are, or were, held.
    pub fn held(&self) -> u64 {
        *self.shared.requests_held.count.borrow()
    }

    /// Waits until more HTTP requests than `before` were held.
    pub async fn until_held(&self, before: u64) {
        let mut count = self.shared.requests_held.count.subscribe();
        // Cannot fail: the sender is part of `self`.
        count.wait_for(|count| *count > before).await.ok();
    }

    /// Takes from HTTP requests the condition that an object is absent, as a server that does not know it.
    pub fn overwrite_objects(&self) {
        let overwrites = &self.shared.requests_held.overwrites;
        overwrites.store(true, Ordering::SeqCst);
    }

    /// Waits until all planned losses have happened.
    pub async fn until_all_are_lost(&self) {
        for losses in [&self.shared.requests, &self.shared.replies] {
            let mut lost = losses.lost.subscribe();
            let none_left = |_: &u64| losses.left.load(Ordering::SeqCst) == 0;
            // Cannot fail: the sender is part of `self`.
            lost.wait_for(none_left).await.ok();
        }
    }
}

impl Losses {
    fn expect(&self, count: u64) {
        self.left.fetch_add(count, Ordering::SeqCst);
    }

    /// Whether the current one is lost.
    fn take(&self) -> bool {
        let decrement = |left: u64| left.checked_sub(1);
        let is_lost = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, decrement)
            .is_ok();
        if is_lost {
            self.lost.send_modify(|lost| *lost += 1);
        }
        is_lost
    }
}

async fn bound(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("a proxy cannot listen on {address}"))
}

async fn carry(
    client: TcpStream,
    server: String,
    shared: Arc<Shared>,
    protocol: Protocol,
) -> Result<()> {
    let mut cuts = shared.cuts.subscribe();
    if *shared.mode.borrow() == Mode::Refuse {
        return Ok(());
    }
    if protocol == Protocol::Http {
        return http::carry(client, &server, &shared).await;
    }
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let batches = Batches::default();
    let requests = Direction::of_requests(from_client, to_server, &shared);
    let replies = Direction::of_replies(from_server, to_client, &shared);
    // Whichever side ends first, or a cut, ends the whole connection: no branch has to be cancel-safe.
    // A cut is checked first: data that a mode has held until then is lost, even if the mode has changed since.
    match protocol {
        Protocol::Bytes | Protocol::Http => tokio::select! {
            biased;
            _ = cuts.changed() => Ok(()),
            end = requests.copy() => end,
            end = replies.copy() => end,
        },
        Protocol::Cql => tokio::select! {
            biased;
            _ = cuts.changed() => Ok(()),
            end = requests.frames(cql::read_frame, |frame| {
                !(batches.is_request(frame) && shared.requests.take())
            }) => end,
            end = replies.frames(cql::read_frame, |frame| {
                !(batches.is_reply(frame) && shared.replies.take())
            }) => end,
        },
        Protocol::Kafka(rewrite) => tokio::select! {
            biased;
            _ = cuts.changed() => Ok(()),
            end = requests.copy() => end,
            end = replies.frames(kafka::read_frame, |frame| {
                rewrite.apply(frame);
                true
            }) => end,
        },
    }
}

/// One direction of one connection.
struct Direction {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    mode: watch::Receiver<Mode>,
    holds: fn(Mode) -> bool,
}

impl Direction {
    fn of_requests(from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Shared) -> Self {
        Self {
            from,
            to,
            mode: shared.mode.subscribe(),
            holds: |mode| mode == Mode::Blackhole,
        }
    }

    fn of_replies(from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Shared) -> Self {
        Self {
            from,
            to,
            mode: shared.mode.subscribe(),
            holds: |mode| matches!(mode, Mode::Blackhole | Mode::Deaf),
        }
    }

    async fn copy(mut self) -> Result<()> {
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = self.from.read(&mut piece).await;
            // The end of a connection is held like data.
            self.hold().await?;
            let length = read?;
            if length == 0 {
                return Ok(());
            }
            self.to.write_all(&piece[..length]).await?;
        }
    }

    async fn frames(
        mut self,
        read: impl AsyncFn(&mut OwnedReadHalf) -> Result<Vec<u8>>,
        mut passes: impl FnMut(&mut [u8]) -> bool,
    ) -> Result<()> {
        loop {
            let frame = read(&mut self.from).await;
            self.hold().await?;
            let mut frame = frame?;
            if passes(&mut frame) {
                self.to.write_all(&frame).await?;
            }
        }
    }

    /// Waits while the mode holds data. Data that its sender withdraws meanwhile by a reset does not arrive: on a real
    /// network it would still be in the sender's kernel.
    async fn hold(&mut self) -> Result<()> {
        let mut reset = None;
        while (self.holds)(*self.mode.borrow_and_update()) {
            // Both branches are cancel-safe: the mode is read again.
            tokio::select! {
                changed = self.mode.changed() => changed?,
                () = sleep(POLL_INTERVAL) => reset = reset.or(self.from.as_ref().take_error()?),
            }
        }
        if let Some(error) = reset {
            return Err(error.into());
        }
        let mode = *self.mode.borrow();
        if let Mode::Delay(time) = mode {
            sleep(time).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const BOUND: Duration = Duration::from_secs(10);

    /// The bytes that arrive after a black hole, if their sender closed the connection meanwhile.
    async fn received_after_black_hole(sender_resets: bool) -> Result<Vec<u8>> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Proxy::start(&server.local_addr()?.to_string()).await?;
        proxy.set(Mode::Blackhole);
        let mut client = TcpStream::connect(proxy.address()).await?;
        client.write_all(b"increment").await?;
        let (mut connection, _) = server.accept().await?;
        if sender_resets {
            client.set_zero_linger()?;
        }
        drop(client);
        let mut received = Vec::new();
        let silent = timeout(10 * POLL_INTERVAL, connection.read_to_end(&mut received)).await;
        assert!(
            silent.is_err(),
            "a black hole lets nothing through, not even the end of a connection"
        );
        proxy.set(Mode::Pass);
        // How the connection ends does not matter here.
        timeout(BOUND, connection.read_to_end(&mut received))
            .await?
            .ok();
        Ok(received)
    }

    #[tokio::test]
    async fn data_withdrawn_by_a_reset_does_not_leave_a_black_hole() -> Result<()> {
        assert_eq!(received_after_black_hole(true).await?, b"");
        Ok(())
    }

    #[tokio::test]
    async fn data_sent_before_a_close_leaves_a_black_hole() -> Result<()> {
        assert_eq!(received_after_black_hole(false).await?, b"increment");
        Ok(())
    }
}

//! A TCP proxy that does to a connection what networks do: it delays, goes silent, cuts, and loses replies.
//!
//! With one Cassandra node the driver keeps to the address that it was given; with several it goes to every peer's
//! address at the port that it was given. So a proxy for each node, on that node's address and one common port that
//! is not the servers', catches everything.

mod cql;
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
use kafka::Readdressing;

/// How often a sender of something that is kept back is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How the proxy treats what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On, at once.
    Pass,
    /// On, each piece after this time.
    Delay(Duration),
    /// Nothing, in neither direction; it is kept and passes when the mode changes, as after a network's repair.
    Blackhole,
    /// Requests pass, replies are kept back.
    Deaf,
    /// Connections are closed, new ones too.
    Refuse,
}

/// A proxy; it ends with its last handle.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    /// Raised to close every connection that exists.
    cuts: watch::Sender<u64>,
    requests: Losses,
    replies: Losses,
}

/// Batches, or replies to them, that get lost.
#[derive(Debug, Default)]
struct Losses {
    to_come: AtomicU64,
    taken: watch::Sender<u64>,
}

/// What the proxy understands of what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Protocol {
    Bytes,
    Cql,
    Kafka(Readdressing),
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1 in front of any server.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(server: &str) -> Result<Self> {
        Self::listen(bound("127.0.0.1:0").await?, server, Protocol::Bytes)
    }

    /// A proxy on a free port in front of a broker; clients that were sent to it stay with it, because it puts itself
    /// into the broker's answers.
    ///
    /// # Errors
    /// If no port is free on the broker's host, or `broker` is no `host:port`.
    pub async fn kafka(broker: &str) -> Result<Self> {
        let (host, port) = broker.rsplit_once(':').context("host:port of a broker")?;
        let listener = bound(&format!("{host}:0")).await?;
        let readdressing = Readdressing::new(host, port.parse()?, listener.local_addr()?.port());
        Self::listen(listener, broker, Protocol::Kafka(readdressing))
    }

    /// A proxy on a free port of 127.0.0.1 in front of a Cassandra node; it knows batches and their replies.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn cassandra(server: &str) -> Result<Self> {
        Self::cassandra_at("127.0.0.1:0", server).await
    }

    /// As [`Self::cassandra`], at a given address.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn cassandra_at(address: &str, server: &str) -> Result<Self> {
        Self::listen(bound(address).await?, server, Protocol::Cql)
    }

    fn listen(listener: TcpListener, server: &str, protocol: Protocol) -> Result<Self> {
        let shared = Arc::new(Shared {
            mode: watch::Sender::new(Mode::Pass),
            cuts: watch::Sender::new(0),
            requests: Losses::default(),
            replies: Losses::default(),
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
                // A connection ends with one of its sides; how is no matter here.
                tokio::spawn(async move { ends.run_until_cancelled(connection).await });
            }
        });
        Ok(proxy)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Treats what passes from now on like this.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    /// Closes every connection that exists.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Loses the replies to the next `count` batches; the batches themselves get through and are applied.
    pub fn lose_batch_replies(&self, count: u64) {
        self.shared.replies.expect(count);
    }

    /// Loses the next `count` batches on their way to the server.
    pub fn lose_batches(&self, count: u64) {
        self.shared.requests.expect(count);
    }

    /// Whatever was still to be lost is not.
    pub fn lose_nothing_more(&self) {
        for losses in [&self.shared.requests, &self.shared.replies] {
            losses.to_come.store(0, Ordering::SeqCst);
        }
    }

    /// How many batches and replies to batches were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        *self.shared.requests.taken.borrow() + *self.shared.replies.taken.borrow()
    }

    /// Waits until all that was to be lost is.
    pub async fn until_all_are_lost(&self) {
        for losses in [&self.shared.requests, &self.shared.replies] {
            let mut taken = losses.taken.subscribe();
            let done = |_: &u64| losses.to_come.load(Ordering::SeqCst) == 0;
            // The sender lives as long as `self`, so this cannot fail.
            taken.wait_for(done).await.ok();
        }
    }
}

impl Losses {
    fn expect(&self, count: u64) {
        self.to_come.fetch_add(count, Ordering::SeqCst);
    }

    fn takes_one(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        let taken = self
            .to_come
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok();
        if taken {
            self.taken.send_modify(|taken| *taken += 1);
        }
        taken
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
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let batches = Batches::default();
    let requests = Direction {
        from: from_client,
        to: to_server,
        mode: shared.mode.subscribe(),
        stops: |mode| mode == Mode::Blackhole,
    };
    let replies = Direction {
        from: from_server,
        to: to_client,
        mode: shared.mode.subscribe(),
        stops: |mode| matches!(mode, Mode::Blackhole | Mode::Deaf),
    };
    // The first side that ends, and a cut, end the connection as a whole: nothing has to survive the other branches.
    // A cut comes first: what a mode kept back until then is lost, though the mode may have changed since.
    match protocol {
        Protocol::Bytes => tokio::select! {
            biased;
            _ = cuts.changed() => Ok(()),
            end = requests.copy() => end,
            end = replies.copy() => end,
        },
        Protocol::Cql => tokio::select! {
            biased;
            _ = cuts.changed() => Ok(()),
            end = requests.frames(cql::read_frame, |frame| {
                !(batches.is_request(frame) && shared.requests.takes_one())
            }) => end,
            end = replies.frames(cql::read_frame, |frame| {
                !(batches.is_reply(frame) && shared.replies.takes_one())
            }) => end,
        },
        Protocol::Kafka(readdressing) => tokio::select! {
            biased;
            _ = cuts.changed() => Ok(()),
            end = requests.copy() => end,
            end = replies.frames(kafka::read_frame, |frame| {
                readdressing.apply(frame);
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
    stops: fn(Mode) -> bool,
}

impl Direction {
    async fn copy(mut self) -> Result<()> {
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = self.from.read(&mut piece).await;
            // The news of an end travels like anything else: it waits as well.
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

    /// Waits for as long as the mode keeps back what was read. What its sender takes back meanwhile by a reset does not
    /// arrive: on a real network it would still lie in the sender's kernel.
    async fn hold(&mut self) -> Result<()> {
        let mut taken_back = None;
        while (self.stops)(*self.mode.borrow_and_update()) {
            // Both branches are cancel-safe: what a change says stands in the value.
            tokio::select! {
                changed = self.mode.changed() => changed?,
                () = sleep(LOOK_INTERVAL) => taken_back = taken_back.or(self.from.as_ref().take_error()?),
            }
        }
        if let Some(error) = taken_back {
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

    /// What arrives of something that was sent into a black hole, whose sender ended before it passed again.
    async fn arrived(sender_takes_it_back: bool) -> Result<Vec<u8>> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Proxy::start(&server.local_addr()?.to_string()).await?;
        proxy.set(Mode::Blackhole);
        let mut client = TcpStream::connect(proxy.address()).await?;
        client.write_all(b"increment").await?;
        let (mut connection, _) = server.accept().await?;
        if sender_takes_it_back {
            client.set_zero_linger()?;
        }
        drop(client);
        let mut received = Vec::new();
        let silent = timeout(10 * LOOK_INTERVAL, connection.read_to_end(&mut received)).await;
        assert!(
            silent.is_err(),
            "a black hole lets nothing through, no end either"
        );
        proxy.set(Mode::Pass);
        // How it ends is no matter here.
        timeout(BOUND, connection.read_to_end(&mut received))
            .await?
            .ok();
        Ok(received)
    }

    #[tokio::test]
    async fn what_its_sender_takes_back_does_not_come_out_of_a_black_hole() -> Result<()> {
        assert_eq!(arrived(true).await?, b"");
        Ok(())
    }

    #[tokio::test]
    async fn what_its_sender_only_ended_after_comes_out_of_a_black_hole() -> Result<()> {
        assert_eq!(arrived(false).await?, b"increment");
        Ok(())
    }
}

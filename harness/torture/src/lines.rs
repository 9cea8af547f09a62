//! The lines of a history: a proxy in front of every server, through which some of its processes reach it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::servers::Servers;
use tokio::time::sleep;

use crate::plan::{Line, Treatment};

/// Attempts to find a port that is free on the address of every node.
const TRIES: u32 = 50;

/// A proxy in front of every server.
pub(crate) struct Lines {
    cassandra: Vec<Wire>,
    zookeeper: Vec<Wire>,
    kafka: Wire,
}

struct Wire {
    proxy: Proxy,
    /// Faults of one line do not overlap.
    in_use: AtomicBool,
}

/// A line that is reserved for one fault until this is dropped.
pub(crate) struct Taken<'l>(&'l Wire);

impl Lines {
    /// Starts the proxies.
    pub(crate) async fn start(servers: &Servers) -> Result<Self> {
        let mut zookeeper = Vec::new();
        for server in servers.zookeeper.split(',') {
            zookeeper.push(Wire::from(Proxy::start(server).await?));
        }
        Ok(Self {
            cassandra: before_nodes(&servers.cassandra).await?,
            zookeeper,
            kafka: Wire::from(Proxy::kafka(&servers.kafka).await?),
        })
    }

    /// The environment of a process that uses these lines.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let addresses = |wires: &[Wire]| -> Vec<String> {
            wires.iter().map(|wire| wire.proxy.address()).collect()
        };
        let variable = |name: &str, value| (name.to_owned(), value);
        vec![
            variable(
                "STITCH_CASSANDRA__NODES",
                format!("{:?}", addresses(&self.cassandra)),
            ),
            variable(
                "STITCH_ZOOKEEPER__CONNECT",
                addresses(&self.zookeeper).join(","),
            ),
            variable(
                "STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS",
                self.kafka.proxy.address(),
            ),
        ]
    }

    /// Reserves a line, unless it has a fault already.
    pub(crate) fn take(&self, line: Line) -> Option<Taken<'_>> {
        let wire = match line {
            Line::Cassandra(node) => self.cassandra.get(node),
            Line::Zookeeper(node) => self.zookeeper.get(node),
            Line::Kafka => Some(&self.kafka),
        }?;
        let is_free = !wire.in_use.swap(true, Ordering::SeqCst);
        is_free.then_some(Taken(wire))
    }

    /// Ends all faults of lines.
    pub(crate) fn repair(&self) {
        let wires = self.cassandra.iter().chain(&self.zookeeper);
        for wire in wires.chain([&self.kafka]) {
            wire.proxy.set(Mode::Pass);
            wire.proxy.lose_nothing_more();
        }
    }
}

impl From<Proxy> for Wire {
    fn from(proxy: Proxy) -> Self {
        Self {
            proxy,
            in_use: AtomicBool::new(false),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.in_use.store(false, Ordering::SeqCst);
    }
}

impl Taken<'_> {
    /// Carries a treatment out to its end.
    pub(crate) async fn treat(&self, treatment: Treatment) {
        let proxy = &self.0.proxy;
        match treatment {
            Treatment::Cut => proxy.cut(),
            Treatment::Refused(lasting) => self.for_a_while(Mode::Refuse, lasting).await,
            Treatment::Delayed { lasting, by } => self.for_a_while(Mode::Delay(by), lasting).await,
            Treatment::BlackHole(lasting) => self.for_a_while(Mode::Blackhole, lasting).await,
            Treatment::RepliesLost(lasting) => {
                proxy.set(Mode::Deaf);
                sleep(lasting).await;
                // Before the mode changes: held replies are lost with their connection.
                proxy.cut();
                proxy.set(Mode::Pass);
            }
            Treatment::BatchRepliesLost(count) => proxy.lose_batch_replies(count),
            Treatment::BatchesLost(count) => proxy.lose_batches(count),
        }
    }

    async fn for_a_while(&self, mode: Mode, lasting: Duration) {
        self.0.proxy.set(mode);
        sleep(lasting).await;
        self.0.proxy.set(Mode::Pass);
    }
}

/// Finds a port that is free on every node's address, because the driver uses the configured port for all of them.
async fn before_nodes(nodes: &[String]) -> Result<Vec<Wire>> {
    let mut failure = None;
    for _ in 0..TRIES {
        match at_one_port(nodes).await {
            Ok(wires) => return Ok(wires),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.context("there are no nodes")?)
}

async fn at_one_port(nodes: &[String]) -> Result<Vec<Wire>> {
    let mut port = "0".to_owned();
    let mut wires = Vec::new();
    for node in nodes {
        let (host, _) = node.rsplit_once(':').context("host:port of a node")?;
        let proxy = Proxy::cassandra_at(&format!("{host}:{port}"), node).await?;
        let address = proxy.address();
        let (_, chosen) = address.rsplit_once(':').context("host:port of a proxy")?;
        chosen.clone_into(&mut port);
        wires.push(Wire::from(proxy));
    }
    Ok(wires)
}

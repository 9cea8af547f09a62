//! Faults with all their parameters.

use std::fmt;
use std::time::Duration;

use rand::Rng;

use super::{Dice, NODES};
use crate::kind::Kind;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Restarted after `away`.
    KillProcessor {
        slot: usize,
        away: Duration,
    },
    FreezeProcessor {
        slot: usize,
        lasting: Duration,
    },
    /// A processor joins, all others leave and return one by one, and it leaves again.
    Rebalance {
        pause: Duration,
    },
    /// The running one, if any.
    KillRestorator,
    /// The running one, if any.
    FreezeRestorator {
        lasting: Duration,
    },
    /// The running one, if any.
    InterruptRestorator,
    /// Sets the wall clock of a processor or, after the last slot, of restorators ahead.
    StepClock {
        slot: usize,
        ahead_s: i64,
    },
    /// A fault of one line of the proxied processes.
    Line {
        line: Line,
        treatment: Treatment,
    },
    /// Restarted after `away`.
    Kill {
        server: Server,
        away: Duration,
    },
    Freeze {
        server: Server,
        lasting: Duration,
    },
}

/// The line from proxied processes to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Cassandra(usize),
    Zookeeper(usize),
    Kafka,
}

/// A fault of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Closes all connections.
    Cut,
    /// Closes all connections, and refuses new ones for a while.
    Refused(Duration),
    /// Delays everything for a while.
    Delayed { lasting: Duration, by: Duration },
    /// Holds everything for a while, then forwards it.
    BlackHole(Duration),
    /// Holds replies for a while, then closes the connections, and loses the replies with them.
    RepliesLost(Duration),
    /// This many counter batches arrive, but their replies are lost.
    BatchRepliesLost(u64),
    /// This many counter batches never arrive.
    BatchesLost(u64),
}

/// A server, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Cassandra(usize),
    Zookeeper(usize),
    /// The ensemble's leader at that time.
    Leader,
    Kafka,
}

impl Dice {
    /// Draws a fault of this kind; none for a full disk, which is a hazard of a restoration.
    pub(super) fn fault(&mut self, kind: Kind, slots: usize) -> Option<Fault> {
        let slot = self.0.random_range(0..slots);
        let node = self.0.random_range(0..NODES);
        // Sessions last 3 s, leases 2 s.
        let lasting = self.between(300, 7000);
        Some(match kind {
            Kind::FullDisk => return None,
            Kind::KillProcessor => Fault::KillProcessor {
                slot,
                away: self.between(0, 4000),
            },
            Kind::FreezeProcessor => Fault::FreezeProcessor { slot, lasting },
            Kind::Rebalance => Fault::Rebalance {
                pause: self.between(200, 2000),
            },
            Kind::KillRestorator => Fault::KillRestorator,
            Kind::FreezeRestorator => Fault::FreezeRestorator { lasting },
            Kind::InterruptRestorator => Fault::InterruptRestorator,
            Kind::StepClock => Fault::StepClock {
                slot: self.0.random_range(0..=slots),
                ahead_s: self.step_s(),
            },
            Kind::CassandraLine => self.line(Line::Cassandra(node)),
            Kind::ZookeeperLine => self.line(Line::Zookeeper(node)),
            Kind::KafkaLine => self.line(Line::Kafka),
            Kind::KillCassandra => self.kill(Server::Cassandra(node)),
            Kind::KillZookeeper => self.kill(Server::Zookeeper(node)),
            Kind::LoseLeader => self.kill(Server::Leader),
            Kind::RestartKafka => self.kill(Server::Kafka),
            Kind::FreezeCassandra => freeze(Server::Cassandra(node), lasting),
            Kind::FreezeKafka => freeze(Server::Kafka, lasting),
            Kind::FreezeZookeeper => {
                let leader = self.chance(0.4);
                freeze(
                    if leader {
                        Server::Leader
                    } else {
                        Server::Zookeeper(node)
                    },
                    lasting,
                )
            }
        })
    }

    /// Any order of magnitude, from a second to half a year.
    fn step_s(&mut self) -> i64 {
        let size = 2_i64.pow(self.0.random_range(0..25));
        if self.chance(0.5) { size } else { -size }
    }

    fn kill(&mut self, server: Server) -> Fault {
        let away = self.between(0, 4000);
        Fault::Kill { server, away }
    }

    fn line(&mut self, line: Line) -> Fault {
        let knows_batches = matches!(line, Line::Cassandra(_));
        let choices = if knows_batches { 7 } else { 5 };
        let treatment = match self.0.random_range(0..choices) {
            0 => Treatment::Cut,
            1 => Treatment::Refused(self.between(300, 5000)),
            2 => Treatment::Delayed {
                lasting: self.between(1000, 6000),
                by: self.between(20, 1500),
            },
            3 => Treatment::BlackHole(self.between(300, 8000)),
            4 => Treatment::RepliesLost(self.between(200, 4000)),
            5 => Treatment::BatchRepliesLost(self.0.random_range(1..20)),
            _ => Treatment::BatchesLost(self.0.random_range(1..20)),
        };
        Fault::Line { line, treatment }
    }
}

const fn freeze(server: Server, lasting: Duration) -> Fault {
    Fault::Freeze { server, lasting }
}

impl Fault {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::KillProcessor { .. } => Kind::KillProcessor,
            Self::FreezeProcessor { .. } => Kind::FreezeProcessor,
            Self::Rebalance { .. } => Kind::Rebalance,
            Self::KillRestorator => Kind::KillRestorator,
            Self::FreezeRestorator { .. } => Kind::FreezeRestorator,
            Self::InterruptRestorator => Kind::InterruptRestorator,
            Self::StepClock { .. } => Kind::StepClock,
            Self::Line { line, .. } => match line {
                Line::Cassandra(_) => Kind::CassandraLine,
                Line::Zookeeper(_) => Kind::ZookeeperLine,
                Line::Kafka => Kind::KafkaLine,
            },
            Self::Kill { server, .. } => match server {
                Server::Cassandra(_) => Kind::KillCassandra,
                Server::Zookeeper(_) => Kind::KillZookeeper,
                Server::Leader => Kind::LoseLeader,
                Server::Kafka => Kind::RestartKafka,
            },
            Self::Freeze { server, .. } => match server {
                Server::Cassandra(_) => Kind::FreezeCassandra,
                Server::Zookeeper(_) | Server::Leader => Kind::FreezeZookeeper,
                Server::Kafka => Kind::FreezeKafka,
            },
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cassandra(node) => write!(f, "line to cassandra-{}", node + 1),
            Self::Zookeeper(node) => write!(f, "line to zookeeper-{}", node + 1),
            Self::Kafka => write!(f, "line to kafka"),
        }
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => write!(f, "cut"),
            Self::Refused(lasting) => write!(f, "refused for {} ms", lasting.as_millis()),
            Self::Delayed { lasting, by } => {
                let (lasting, by) = (lasting.as_millis(), by.as_millis());
                write!(f, "delayed by {by} ms for {lasting} ms")
            }
            Self::BlackHole(lasting) => write!(f, "a black hole for {} ms", lasting.as_millis()),
            Self::RepliesLost(lasting) => {
                write!(f, "replies lost for {} ms, then cut", lasting.as_millis())
            }
            Self::BatchRepliesLost(count) => write!(f, "replies to {count} batches lost"),
            Self::BatchesLost(count) => write!(f, "{count} batches lost"),
        }
    }
}

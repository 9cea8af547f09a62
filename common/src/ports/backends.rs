use super::{Cql, EventLog, Nodes, Session, Store, ZooKeeper};
use crate::clock::Clock;

/// The servers and the clock that a program runs on: the real ones, or those of a simulation. One type parameter for
/// all four, and for what they connect to.
pub trait Backends {
    /// Opens sessions with ZooKeeper.
    type ZooKeeper: ZooKeeper<Session = Self::Session>;
    /// A session with ZooKeeper.
    type Session: Session;
    /// Opens sessions with Cassandra.
    type Cassandra: Cql<Store = Self::Store, Nodes = Self::Nodes>;
    /// The session with Cassandra that increments and reads counters.
    type Store: Store;
    /// The connections to single Cassandra nodes.
    type Nodes: Nodes;
    /// Kafka's log.
    type Log: EventLog;
    /// The clock.
    type Clock: Clock;

    /// Opens sessions with ZooKeeper.
    fn zookeeper(&self) -> &Self::ZooKeeper;
    /// Opens sessions with Cassandra.
    fn cassandra(&self) -> &Self::Cassandra;
    /// Kafka's log.
    fn log(&self) -> &Self::Log;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
}

/// The servers before anything is connected, and the clock.
#[derive(Debug)]
pub struct Servers<K, Q, L, C> {
    /// Opens sessions with ZooKeeper.
    pub keeper: K,
    /// Opens sessions with Cassandra.
    pub cql: Q,
    /// Kafka's log.
    pub log: L,
    /// The clock.
    pub clock: C,
}

impl<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock> Backends for Servers<K, Q, L, C> {
    type ZooKeeper = K;
    type Session = K::Session;
    type Cassandra = Q;
    type Store = Q::Store;
    type Nodes = Q::Nodes;
    type Log = L;
    type Clock = C;

    fn zookeeper(&self) -> &K {
        &self.keeper
    }

    fn cassandra(&self) -> &Q {
        &self.cql
    }

    fn log(&self) -> &L {
        &self.log
    }

    fn clock(&self) -> &C {
        &self.clock
    }
}

use super::{Cql, EventLog, Nodes, ObjectStore, Session, Store, ZooKeeper};
use crate::clock::Clock;

/// The servers and the clock that a program runs on: the real ones, or those of a simulation. One type parameter for
/// all of them, and for what they connect to.
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
    /// The object store of archive and totals.
    type Objects: ObjectStore + Clone;
    /// The clock.
    type Clock: Clock;

    /// Opens sessions with ZooKeeper.
    fn zookeeper(&self) -> &Self::ZooKeeper;
    /// Opens sessions with Cassandra.
    fn cassandra(&self) -> &Self::Cassandra;
    /// Kafka's log.
    fn log(&self) -> &Self::Log;
    /// The object stores.
    fn stores(&self) -> &Stores<Self::Objects>;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
}

/// The object stores, as far as there are any.
#[derive(Clone, Debug)]
pub struct Stores<O> {
    /// That of the archive of the event topic.
    pub archive: Option<O>,
    /// That of totals.
    pub totals: Option<O>,
}

/// The servers before anything is connected, and the clock.
#[derive(Debug)]
pub struct Servers<K, Q, L, O, C> {
    /// Opens sessions with ZooKeeper.
    pub keeper: K,
    /// Opens sessions with Cassandra.
    pub cql: Q,
    /// Kafka's log.
    pub log: L,
    /// The object stores.
    pub stores: Stores<O>,
    /// The clock.
    pub clock: C,
}

impl<K, Q, L, O, C> Backends for Servers<K, Q, L, O, C>
where
    K: ZooKeeper,
    Q: Cql,
    L: EventLog,
    O: ObjectStore + Clone,
    C: Clock,
{
    type ZooKeeper = K;
    type Session = K::Session;
    type Cassandra = Q;
    type Store = Q::Store;
    type Nodes = Q::Nodes;
    type Log = L;
    type Objects = O;
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

    fn stores(&self) -> &Stores<O> {
        &self.stores
    }

    fn clock(&self) -> &C {
        &self.clock
    }
}

//! The kinds of fault. Each history draws a set of them.

use std::fmt;

use serde::Serialize;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    KillProcessor,
    FreezeProcessor,
    Rebalance,
    KillRestorator,
    FreezeRestorator,
    InterruptRestorator,
    FullDisk,
    StepClock,
    CassandraLine,
    ZookeeperLine,
    KafkaLine,
    KillCassandra,
    FreezeCassandra,
    KillZookeeper,
    LoseLeader,
    FreezeZookeeper,
    RestartKafka,
    FreezeKafka,
}

impl Kind {
    /// Faults that affect one history only.
    pub(crate) const OWN: [Self; 11] = [
        Self::KillProcessor,
        Self::FreezeProcessor,
        Self::Rebalance,
        Self::KillRestorator,
        Self::FreezeRestorator,
        Self::InterruptRestorator,
        Self::FullDisk,
        Self::StepClock,
        Self::CassandraLine,
        Self::ZookeeperLine,
        Self::KafkaLine,
    ];

    /// Faults of a server, which affect every history that runs.
    pub(crate) const SERVERS: [Self; 7] = [
        Self::KillCassandra,
        Self::FreezeCassandra,
        Self::KillZookeeper,
        Self::LoseLeader,
        Self::FreezeZookeeper,
        Self::RestartKafka,
        Self::FreezeKafka,
    ];

    /// All of them.
    pub(crate) fn every() -> impl Iterator<Item = Self> {
        Self::OWN.into_iter().chain(Self::SERVERS)
    }

    /// The name in tables and results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillProcessor => "kill-processor",
            Self::FreezeProcessor => "freeze-processor",
            Self::Rebalance => "rebalance",
            Self::KillRestorator => "kill-restorator",
            Self::FreezeRestorator => "freeze-restorator",
            Self::InterruptRestorator => "interrupt-restorator",
            Self::FullDisk => "full-disk",
            Self::StepClock => "step-clock",
            Self::CassandraLine => "cassandra-line",
            Self::ZookeeperLine => "zookeeper-line",
            Self::KafkaLine => "kafka-line",
            Self::KillCassandra => "kill-cassandra",
            Self::FreezeCassandra => "freeze-cassandra",
            Self::KillZookeeper => "kill-zookeeper",
            Self::LoseLeader => "lose-leader",
            Self::FreezeZookeeper => "freeze-zookeeper",
            Self::RestartKafka => "restart-kafka",
            Self::FreezeKafka => "freeze-kafka",
        }
    }

    /// The description in the table.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::KillProcessor => "a processor killed by SIGKILL, and started again",
            Self::FreezeProcessor => {
                "a processor stopped by SIGSTOP, within its session and beyond it"
            }
            Self::Rebalance => "processors that leave and join, one after the other",
            Self::KillRestorator => {
                "a restorator killed by SIGKILL, at random or between two steps"
            }
            Self::FreezeRestorator => {
                "a restorator stopped by SIGSTOP, within its lease and beyond it"
            }
            Self::InterruptRestorator => "a restorator interrupted by SIGINT",
            Self::FullDisk => "a full disk under the restorator's journal",
            Self::StepClock => {
                "a process's wall clock steps, by a second to half a year, forwards or back"
            }
            Self::CassandraLine => {
                "between processes and one Cassandra node: a cut, a delay, a black hole, lost replies, lost requests"
            }
            Self::ZookeeperLine => {
                "between processes and one ZooKeeper server: a cut, a delay, a black hole, lost replies"
            }
            Self::KafkaLine => {
                "between processes and Kafka: a cut, a delay, a black hole, lost replies"
            }
            Self::KillCassandra => "a Cassandra node killed by SIGKILL, and started again",
            Self::FreezeCassandra => {
                "a Cassandra node stopped by SIGSTOP with requests in its sockets"
            }
            Self::KillZookeeper => "a ZooKeeper server killed by SIGKILL, and started again",
            Self::LoseLeader => "the same with the ensemble's leader",
            Self::FreezeZookeeper => "a ZooKeeper server stopped by SIGSTOP, the leader or another",
            Self::RestartKafka => "the broker killed by SIGKILL, and started again",
            Self::FreezeKafka => "the broker stopped by SIGSTOP",
        }
    }

    /// Whether it is a fault of a server.
    pub(crate) fn hits_servers(self) -> bool {
        Self::SERVERS.contains(&self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

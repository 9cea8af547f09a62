//! Breaks counts by hand, in ways that must not happen: adds, doubles, brings to 0, invents.

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter, CqlTimestamp};

use crate::recount::{Cells, Place, read_table, session};
use crate::servers::Servers;

/// Changes a table of counts as somebody with `cqlsh` could.
pub struct Corruptor {
    session: Session,
    add: PreparedStatement,
    keyspace: String,
    random: ChaCha8Rng,
}

/// How many cells were changed in which way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Damage {
    /// Got something added.
    pub added: usize,
    /// Were doubled.
    pub doubled: usize,
    /// Were brought to 0.
    pub zeroed: usize,
    /// Were invented.
    pub invented: usize,
}

impl Corruptor {
    /// Goes to the table of this keyspace.
    ///
    /// # Errors
    /// If there is no such table.
    pub async fn enter(servers: &Servers, keyspace: &str, seed: u64) -> Result<Self> {
        let session = session(&servers.cassandra).await?;
        let mut add = session
            .prepare(format!(
                "UPDATE {keyspace}.counts SET value = value + ? \
                 WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?"
            ))
            .await?;
        add.set_consistency(Consistency::All);
        Ok(Self {
            session,
            add,
            keyspace: keyspace.to_owned(),
            random: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// Adds to one cell.
    ///
    /// # Errors
    /// If the store does not take it.
    pub async fn add(&self, place: &Place, amount: i64) -> Result<()> {
        let values = (
            Counter(amount),
            &place.counter,
            &place.key,
            &place.granularity,
            CqlTimestamp(place.bucket_ms),
        );
        let done = self.session.execute_unpaged(&self.add, values).await;
        done.map(drop).context("breaking a cell")
    }

    /// Deletes one cell: Cassandra's tombstone then swallows what is added to it.
    ///
    /// # Errors
    /// If the store does not take it.
    pub async fn delete(&self, place: &Place) -> Result<()> {
        let statement = format!(
            "DELETE value FROM {}.counts WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
            self.keyspace
        );
        let values = (
            &place.counter,
            &place.key,
            &place.granularity,
            CqlTimestamp(place.bucket_ms),
        );
        let done = self.session.query_unpaged(statement, values).await;
        done.map(drop).context("deleting a cell")
    }

    /// Breaks cells in each of the four ways, `each` of them in a way.
    ///
    /// # Errors
    /// If there are too few cells, or the store does not take a change.
    pub async fn rage(&mut self, each: usize) -> Result<Damage> {
        let cells = read_table(&self.session, &self.keyspace).await?;
        let victims: Vec<(&Place, &i64)> = self.victims(&cells, 3 * each)?;
        let (added, rest) = victims.split_at(each);
        let (doubled, zeroed) = rest.split_at(each);
        for (place, _) in added {
            self.add(place, 1000).await?;
        }
        for (place, value) in doubled {
            self.add(place, **value).await?;
        }
        for (place, value) in zeroed {
            self.add(place, value.wrapping_neg()).await?;
        }
        for (number, (place, _)) in victims.iter().take(each).enumerate() {
            let phantom = Place {
                key: format!("nobody-{number}"),
                ..(*place).clone()
            };
            self.add(&phantom, 42).await?;
        }
        Ok(Damage {
            added: added.len(),
            doubled: doubled.len(),
            zeroed: zeroed.len(),
            invented: each,
        })
    }

    fn victims<'c>(&mut self, cells: &'c Cells, count: usize) -> Result<Vec<(&'c Place, &'c i64)>> {
        let every: Vec<(&Place, &i64)> = cells.iter().collect();
        anyhow::ensure!(
            every.len() >= count,
            "{} cells are too few to break {count}",
            every.len()
        );
        Ok(every
            .choose_multiple(&mut self.random, count)
            .copied()
            .collect())
    }
}

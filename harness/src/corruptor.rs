//! Corrupts counts: raises, doubles and zeroes cells, and creates cells that no event counts.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter, CqlTimestamp};

use crate::recount::{CellId, Cells, read_table, session};
use crate::servers::Servers;

/// Changes a table of counts behind the product's back, as with `cqlsh`.
pub struct Corruptor {
    session: Session,
    add: PreparedStatement,
    keyspace: String,
    random: ChaCha8Rng,
}

/// The cells that were changed, and their number in each way.
#[derive(Clone, Debug, Default)]
pub struct Corruption {
    pub changed: BTreeSet<CellId>,
    pub added: usize,
    pub doubled: usize,
    pub zeroed: usize,
    /// Cells that did not exist.
    pub invented: usize,
}

/// Drops a table, as with `cqlsh`.
pub async fn drop_table(nodes: &[String], table: &str) -> Result<()> {
    statement(nodes, &format!("DROP TABLE {table}")).await
}

/// Executes a statement that returns nothing, as with `cqlsh`.
pub async fn statement(nodes: &[String], cql: &str) -> Result<()> {
    let session = session(nodes).await?;
    let executed = session.query_unpaged(cql, ()).await;
    executed.with_context(|| cql.to_owned())?;
    Ok(())
}

impl Corruptor {
    /// Connects to the table of this keyspace.
    pub async fn connect(servers: &Servers, keyspace: &str, seed: u64) -> Result<Self> {
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

    /// Adds to a cell.
    pub async fn add(&self, id: &CellId, amount: i64) -> Result<()> {
        let values = (
            Counter(amount),
            &id.counter,
            &id.key,
            &id.granularity,
            CqlTimestamp(id.bucket_ms),
        );
        self.session
            .execute_unpaged(&self.add, values)
            .await
            .context("corrupting a cell")?;
        Ok(())
    }

    /// Deletes a cell: Cassandra's tombstone then swallows later increments.
    pub async fn delete(&self, id: &CellId) -> Result<()> {
        let statement = format!(
            "DELETE value FROM {}.counts WHERE counter = ? AND key = ? AND granularity = ? AND bucket = ?",
            self.keyspace
        );
        let values = (
            &id.counter,
            &id.key,
            &id.granularity,
            CqlTimestamp(id.bucket_ms),
        );
        self.session
            .query_unpaged(statement, values)
            .await
            .context("deleting a cell")?;
        Ok(())
    }

    /// Corrupts `each` cells in each of the four ways.
    pub async fn corrupt(&mut self, each: usize) -> Result<Corruption> {
        let cells = read_table(&self.session, &self.keyspace).await?;
        let chosen = self.choose(&cells, 3 * each)?;
        let (added, rest) = chosen.split_at(each);
        let (doubled, zeroed) = rest.split_at(each);
        for (id, _) in added {
            self.add(id, 1000).await?;
        }
        for (id, value) in doubled {
            self.add(id, **value).await?;
        }
        for (id, value) in zeroed {
            self.add(id, value.wrapping_neg()).await?;
        }
        let mut changed: BTreeSet<CellId> = chosen.iter().map(|(id, _)| (*id).clone()).collect();
        for (number, (id, _)) in chosen.iter().take(each).enumerate() {
            let phantom = CellId {
                key: format!("nobody-{number}"),
                ..(*id).clone()
            };
            self.add(&phantom, 42).await?;
            changed.insert(phantom);
        }
        let (added, doubled, zeroed) = (added.len(), doubled.len(), zeroed.len());
        Ok(Corruption {
            changed,
            added,
            doubled,
            zeroed,
            invented: each,
        })
    }

    fn choose<'c>(&mut self, cells: &'c Cells, count: usize) -> Result<Vec<(&'c CellId, &'c i64)>> {
        let all: Vec<(&CellId, &i64)> = cells.iter().collect();
        anyhow::ensure!(
            all.len() >= count,
            "{} cells are too few to corrupt {count}",
            all.len()
        );
        Ok(all
            .choose_multiple(&mut self.random, count)
            .copied()
            .collect())
    }
}

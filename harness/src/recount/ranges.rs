//! The range that a cell lies in, by the driver's own hash of its partition key.

use anyhow::{Context, Result};
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;

use super::CellId;

/// Maps cells to ranges.
pub struct Ranges {
    select: PreparedStatement,
    bits: u32,
}

impl Ranges {
    /// For the table of this keyspace, in a namespace of this many ranges.
    ///
    /// # Errors
    /// The table cannot be queried, or the number is no power of two.
    pub async fn of(session: &Session, keyspace: &str, count: u64) -> Result<Self> {
        anyhow::ensure!(count.is_power_of_two(), "{count} ranges");
        let query = format!("SELECT value FROM {keyspace}.counts WHERE counter = ? AND key = ?");
        Ok(Self {
            select: session.prepare(query).await?,
            bits: count.trailing_zeros(),
        })
    }

    /// The range of a cell: the upper bits of its token, from the lowest token on.
    ///
    /// # Errors
    /// The driver computes no token.
    pub fn range(&self, id: &CellId) -> Result<u64> {
        let token = self.select.calculate_token(&(&id.counter, &id.key))?;
        let token = token.context("a table of counts has a partition key")?;
        Ok(range_of(token.value(), self.bits))
    }
}

fn range_of(token: i64, bits: u32) -> u64 {
    let from_lowest = token.cast_unsigned() ^ (1 << 63);
    from_lowest.checked_shr(64 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_equal_intervals_from_the_lowest_token_on() {
        for (token, bits, range) in [
            (i64::MIN, 6, 0),
            (-1, 6, 31),
            (0, 6, 32),
            (i64::MAX, 6, 63),
            (0, 0, 0),
            (i64::MAX, 12, 4095),
        ] {
            assert_eq!(range_of(token, bits), range, "{token} {bits}");
        }
    }
}

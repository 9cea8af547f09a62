//! The bare driver, reading the cells that the API reads: the same queries of random keys, as many at once, with every
//! value checked. The statements are those that one would write for just this purpose.

use std::pin::pin;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter, CqlTimestamp};

use super::{Measured, Stopwatch, Target, connect};
use crate::load::{COUNTER, SERVED, track};
use crate::serving::month;

/// Keys of one page that are read at once: as many as the API reads.
pub(crate) const KEYS_AT_ONCE: usize = 32;

/// A kind of query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Query {
    /// One count of all time.
    Count,
    /// The days of a month.
    Series,
    /// Counts of all time of a page of keys.
    Counts,
    /// Counts of all time of keys, by each of several counters.
    Table,
}

/// The statements for just these queries.
pub(super) struct Statements {
    /// One cell.
    pub(super) count: PreparedStatement,
    /// The cells of a span.
    pub(super) span: PreparedStatement,
}

struct Reader<'a> {
    session: &'a Session,
    statements: Statements,
}

/// Reads until the time is over.
pub(super) async fn read(
    query: Query,
    tracks: u32,
    keys: usize,
    at_once: usize,
    target: &Target,
) -> Result<Measured> {
    let session = connect(target).await?;
    let reader = Reader {
        statements: Statements::prepare(&session, &target.keyspace).await?,
        session: &session,
    };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let page = stream::repeat_with(|| -> Vec<String> {
        let each = (0..keys).map(|_| track(random.random_range(0..tracks)));
        each.collect()
    });
    let answers = page
        .map(|page| reader.answer(query, page))
        .buffer_unordered(at_once);
    let mut answers = pin!(answers);
    let mut stopwatch = Stopwatch::new(target);
    while let Some(answer) = answers.next().await {
        if let Err(error) = answer {
            stopwatch.record_failure(error)?;
            continue;
        }
        if let Some(measured) = stopwatch.record_answer()? {
            return Ok(measured);
        }
    }
    bail!("an endless stream ended")
}

impl Statements {
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Self> {
        let prepare = async |condition: &str| {
            let mut prepared = session
                .prepare(format!(
                    "SELECT bucket, value FROM {keyspace}.counts \
                     WHERE counter = ? AND key = ? AND granularity = ? AND {condition}"
                ))
                .await?;
            prepared.set_consistency(Consistency::LocalQuorum);
            anyhow::Ok(prepared)
        };
        Ok(Self {
            count: prepare("bucket = ?").await?,
            span: prepare("bucket >= ? AND bucket <= ?").await?,
        })
    }
}

impl Reader<'_> {
    async fn answer(&self, query: Query, keys: Vec<String>) -> Result<()> {
        match query {
            Query::Count => self.count(COUNTER, keys.first().context("a key")?).await,
            Query::Series => self.series(keys.first().context("a key")?).await,
            Query::Counts => self.counts(&[COUNTER], &keys).await,
            Query::Table => self.counts(&SERVED, &keys).await,
        }
    }

    async fn counts(&self, counters: &[&str], keys: &[String]) -> Result<()> {
        let all = counters
            .iter()
            .flat_map(|counter| keys.iter().map(move |key| (*counter, key)));
        let all: Vec<_> = all.collect();
        for together in all.chunks(KEYS_AT_ONCE) {
            let reads = together
                .iter()
                .map(|(counter, key)| self.count(counter, key));
            try_join_all(reads).await?;
        }
        Ok(())
    }

    async fn count(&self, counter: &str, key: &str) -> Result<()> {
        let values = (counter, key, "all", CqlTimestamp(0));
        let (rows, sum) = self.ask(&self.statements.count, values).await?;
        ensure!(
            (rows, sum) == (1, month::COUNT),
            "{key}: {rows} rows, {sum}"
        );
        Ok(())
    }

    async fn series(&self, key: &str) -> Result<()> {
        let (first, last) = (CqlTimestamp(month::START_MS), CqlTimestamp(month::LAST_MS));
        let values = (COUNTER, key, "day", first, last);
        let (rows, sum) = self.ask(&self.statements.span, values).await?;
        let expected = (month::DAYS, month::COUNT);
        ensure!((rows, sum) == expected, "{key}: {rows} rows, {sum}");
        Ok(())
    }

    /// The number of rows, and the sum of their values.
    async fn ask(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(i64, i64)> {
        let answer = self.session.execute_unpaged(statement, values).await?;
        let answer = answer.into_rows_result()?;
        let (mut rows, mut sum) = (0, 0);
        for row in answer.rows::<(CqlTimestamp, Option<Counter>)>()? {
            let (_, value) = row?;
            rows += 1;
            sum += value.map_or(0, |Counter(value)| value);
        }
        Ok((rows, sum))
    }
}

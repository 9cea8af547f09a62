//! The bare driver reads what the API is asked for: the same cells of keys by chance, as many at once, and looks at the
//! values. The statements are those that one would write for just this.

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

use super::{Given, Measured, Stopwatch, connect};
use crate::load::{COUNTER, track};
use crate::serving::month;

/// Keys of one page that are read at once: as many as the API's.
pub(crate) const KEYS_AT_ONCE: usize = 32;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Question {
    /// One count of all time.
    Count,
    /// The days of a month.
    Series,
    /// Counts of all time of a page full of keys.
    Counts,
}

struct Reader<'a> {
    session: &'a Session,
    count: PreparedStatement,
    span: PreparedStatement,
}

/// Reads until time is over.
pub(super) async fn read(
    question: Question,
    tracks: u32,
    keys: usize,
    at_once: usize,
    given: &Given,
) -> Result<Measured> {
    let session = connect(given).await?;
    let reader = Reader::prepare(&session, &given.keyspace).await?;
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let page = stream::repeat_with(|| -> Vec<String> {
        let each = (0..keys).map(|_| track(random.random_range(0..tracks)));
        each.collect()
    });
    let answers = page
        .map(|page| reader.answer(question, page))
        .buffer_unordered(at_once);
    let mut answers = pin!(answers);
    let mut stopwatch = Stopwatch::new(given);
    while let Some(answer) = answers.next().await {
        if let Err(error) = answer {
            stopwatch.failed(error)?;
            continue;
        }
        if let Some(measured) = stopwatch.answered()? {
            return Ok(measured);
        }
    }
    bail!("an endless row ended")
}

impl<'a> Reader<'a> {
    async fn prepare(session: &'a Session, keyspace: &str) -> Result<Self> {
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
            session,
            count: prepare("bucket = ?").await?,
            span: prepare("bucket >= ? AND bucket <= ?").await?,
        })
    }

    async fn answer(&self, question: Question, keys: Vec<String>) -> Result<()> {
        match question {
            Question::Count => self.count(keys.first().context("a key")?).await,
            Question::Series => self.series(keys.first().context("a key")?).await,
            Question::Counts => {
                for together in keys.chunks(KEYS_AT_ONCE) {
                    try_join_all(together.iter().map(|key| self.count(key))).await?;
                }
                Ok(())
            }
        }
    }

    async fn count(&self, key: &str) -> Result<()> {
        let values = (COUNTER, key, "all", CqlTimestamp(0));
        let (rows, sum) = self.ask(&self.count, values).await?;
        ensure!(
            (rows, sum) == (1, month::COUNT),
            "{key}: {rows} rows, {sum}"
        );
        Ok(())
    }

    async fn series(&self, key: &str) -> Result<()> {
        let last = month::START_MS + (month::DAYS - 1) * month::DAY_MS;
        let (first, last) = (CqlTimestamp(month::START_MS), CqlTimestamp(last));
        let values = (COUNTER, key, "day", first, last);
        let (rows, sum) = self.ask(&self.span, values).await?;
        let expected = (month::DAYS, month::COUNT);
        ensure!((rows, sum) == expected, "{key}: {rows} rows, {sum}");
        Ok(())
    }

    /// How many rows there are, and what they add up to.
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

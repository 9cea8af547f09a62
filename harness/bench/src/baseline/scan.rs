//! The bare scan: reads every row of the table by token ranges, and decodes it.

use std::ops::ControlFlow;

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::response::PagingState;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter, CqlTimestamp};
use tokio::time::Instant;

use super::{Measured, Target, connect, own_cpu_seconds};

/// The restorator's number of pieces, concurrency and page size.
const PIECES: i128 = 32;
const CONCURRENCY: usize = 8;
const PAGE_ROWS: i32 = 5000;

type Row<'a> = (&'a str, &'a str, &'a str, CqlTimestamp, Option<Counter>);

/// Reads the table once.
pub(super) async fn read(target: &Target) -> Result<Measured> {
    let session = connect(target).await?;
    let mut select = session
        .prepare(format!(
            "SELECT counter, key, granularity, bucket, value FROM {}.counts \
             WHERE token(counter, key) >= ? AND token(counter, key) <= ?",
            target.keyspace
        ))
        .await?;
    select.set_consistency(Consistency::All);
    select.set_page_size(PAGE_ROWS);
    let (started, cpu_before) = (Instant::now(), own_cpu_seconds()?);
    let pieces = stream::iter((0..PIECES).map(|piece| piece_of(&session, &select, piece)));
    let (rows, _) = pieces
        .buffer_unordered(CONCURRENCY)
        .try_fold((0, 0_i64), async |sum, (rows, total)| {
            Ok((sum.0 + rows, sum.1.wrapping_add(total)))
        })
        .await?;
    Ok(Measured {
        events: 0.0,
        cells: f64::from(rows),
        requests: 0.0,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu_seconds()? - cpu_before,
    })
}

async fn piece_of(
    session: &Session,
    select: &PreparedStatement,
    piece: i128,
) -> Result<(u32, i64)> {
    let start = |piece: i128| i128::from(i64::MIN) + (1 << 64) * piece / PIECES;
    let first = i64::try_from(start(piece))?;
    let last = i64::try_from(start(piece + 1) - 1)?;
    let (mut rows, mut total) = (0, 0_i64);
    let mut state = PagingState::start();
    loop {
        let (page, next) = session
            .execute_single_page(select, (first, last), state)
            .await?;
        for row in page.into_rows_result()?.rows::<Row<'_>>()? {
            let (_, _, _, _, value) = row?;
            rows += 1;
            total = total.wrapping_add(value.map_or(0, |Counter(value)| value));
        }
        match next.into_paging_control_flow() {
            ControlFlow::Break(()) => return Ok((rows, total)),
            ControlFlow::Continue(next) => state = next,
        }
    }
}

//! Scans tokens in order, page by page.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use scylla::client::session::Session;
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;

use crate::classify;
use crate::page_size::PageSize;
use crate::read::{CellValue, slot, unlike};
use stitch_common::cell::{Counter, CounterName};
use stitch_common::ports::{ScanPage, ScanPosition, StoreError};
use stitch_common::range::TokenInterval;
use stitch_common::token::Token;

type Row<'a, V> = (&'a str, &'a str, &'a str, CqlTimestamp, Option<V>);

/// Reads one page. The token is computed here, once for each counter, which costs less than sending it with each row.
pub(super) async fn page<V: CellValue>(
    session: &Session,
    (statement, page_size): (&PreparedStatement, &PageSize),
    tokens: TokenInterval,
    after: Option<ScanPosition>,
) -> Result<ScanPage, StoreError> {
    let state = match after {
        Some(ScanPosition(bytes)) => PagingState::new_from_raw_bytes(bytes),
        None => PagingState::start(),
    };
    let values = (tokens.first.0, tokens.last.0);
    let page = page_size.read(session, statement, values, state);
    let (result, next) = page.await.map_err(|error| classify::read(&error))?;
    let result = result.into_rows_result().map_err(unlike)?;
    let mut cells = Vec::with_capacity(result.rows_num());
    let mut foreign = BTreeMap::new();
    let mut names = Names::default();
    for row in result.rows::<Row<'_, V>>().map_err(unlike)? {
        let (name, key, granularity, bucket, value) = row.map_err(unlike)?;
        let Some(value) = value else {
            continue;
        };
        let Some(slot) = slot(granularity, bucket) else {
            *foreign.entry(foreign_name(name, granularity)).or_default() += 1;
            continue;
        };
        let (token, counter) = names.counter(name, key);
        cells.push((token, counter, slot, value.count()));
    }
    let next = match next.into_paging_control_flow() {
        ControlFlow::Break(()) => None,
        ControlFlow::Continue(state) => state
            .as_bytes_slice()
            .map(|bytes| ScanPosition(bytes.to_vec())),
    };
    Ok(ScanPage {
        cells,
        foreign,
        next,
    })
}

/// Names rows of a granularity that Stitch does not have.
fn foreign_name(counter: &str, granularity: &str) -> CounterName {
    CounterName(format!("{counter}, granularity {granularity}").into())
}

/// Shares the strings of a counter among its rows, which are consecutive, and the name among counters.
#[derive(Default)]
struct Names {
    last: Option<(Token, Counter)>,
}

impl Names {
    fn counter(&mut self, name: &str, key: &str) -> (Token, Counter) {
        if let Some((token, last)) = &self.last
            && &*last.key.0 == key
            && &*last.name.0 == name
        {
            return (*token, last.clone());
        }
        let shared = self.last.take().map(|(_, last)| last.name.0);
        let name = shared
            .filter(|last| **last == *name)
            .unwrap_or_else(|| Arc::from(name));
        let counter = Counter::new(name, key);
        let token = counter.token();
        self.last = Some((token, counter.clone()));
        (token, counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_counter_share_its_strings_and_counters_of_one_name_share_the_name() {
        let mut names = Names::default();
        let (first_token, first) = names.counter("plays", "a");
        let (same_token, same) = names.counter("plays", "a");
        let (other_token, other) = names.counter("plays", "b");
        let (_, third) = names.counter("skips", "b");
        assert!(Arc::ptr_eq(&first.key.0, &same.key.0));
        assert!(Arc::ptr_eq(&first.name.0, &other.name.0));
        assert_eq!(first_token, same_token);
        assert_eq!(first_token, first.token());
        assert_eq!(other_token, Counter::new("plays", "b").token());
        assert_eq!(third, Counter::new("skips", "b"));
    }
}

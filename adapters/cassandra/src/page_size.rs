//! How many rows a page of a read has. A node that is slow, or whose guardrail `page_size_fail_threshold` is lower than
//! what was asked for, gets smaller pages: each such answer halves them, for the rest of the session.

use std::sync::atomic::{AtomicI32, Ordering};

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

/// Rows in a page at first.
pub const ROWS_MAX: i32 = 5000;
/// Rows in a page at least: smaller ones would not be quicker.
pub const ROWS_MIN: i32 = 50;

/// The size of all pages of one session.
#[derive(Debug)]
pub(super) struct PageSize(AtomicI32);

impl Default for PageSize {
    fn default() -> Self {
        Self(AtomicI32::new(ROWS_MAX))
    }
}

impl PageSize {
    fn rows(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Halves the size that a page was asked with, unless another read has done so. `false` if it is the least.
    fn halve(&self, asked: i32) -> bool {
        if asked <= ROWS_MIN {
            return false;
        }
        let half = (asked / 2).max(ROWS_MIN);
        let halved = self
            .0
            .compare_exchange(asked, half, Ordering::Relaxed, Ordering::Relaxed);
        if halved.is_ok() {
            tracing::warn!(rows = half, "reading smaller pages");
        }
        true
    }

    /// Reads one page. A read changes nothing, so it is repeated with a smaller page where that can help.
    pub(super) async fn read(
        &self,
        session: &Session,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        from: PagingState,
    ) -> Result<(QueryResult, PagingStateResponse), ExecutionError> {
        loop {
            let rows = self.rows();
            let mut sized = statement.clone();
            sized.set_page_size(rows);
            let page = session
                .execute_single_page(&sized, &values, from.clone())
                .await;
            match page {
                Err(error) if can_be_smaller(&error) && self.halve(rows) => {}
                page => return page,
            }
        }
    }
}

/// Whether a smaller page can be answered where this one was not.
fn can_be_smaller(error: &ExecutionError) -> bool {
    if let ExecutionError::LastAttemptError(RequestAttemptError::DbError(answer, _)) = error {
        return matches!(
            answer,
            DbError::Invalid | DbError::ReadTimeout { .. } | DbError::ReadFailure { .. }
        );
    }
    matches!(error, ExecutionError::RequestTimeout(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_halved_down_to_the_least_and_once_for_all_reads_of_the_same_size() {
        let size = PageSize::default();
        let mut sizes = vec![size.rows()];
        while size.halve(size.rows()) {
            sizes.push(size.rows());
        }
        assert_eq!(sizes, [5000, 2500, 1250, 625, 312, 156, 78, 50]);
        let size = PageSize::default();
        assert!(size.halve(5000) && size.halve(5000), "two reads in flight");
        assert_eq!(size.rows(), 2500);
    }

    #[test]
    fn smaller_pages_are_tried_after_a_timeout_or_a_guardrail_and_not_after_other_refusals() {
        let answer = |error: DbError| {
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
        };
        assert!(can_be_smaller(&answer(DbError::Invalid)));
        let timeout = std::time::Duration::from_secs(1);
        assert!(can_be_smaller(&ExecutionError::RequestTimeout(timeout)));
        assert!(!can_be_smaller(&answer(DbError::Unauthorized)));
        assert!(!can_be_smaller(&ExecutionError::EmptyPlan));
    }
}

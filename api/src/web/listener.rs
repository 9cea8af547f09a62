//! What a listener serves, and so what it may name: an address of another listener leads nowhere here.

use crate::{operator, stats};

/// Which of the routes a listener has, besides those of every listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// All of them.
    Whole,
    /// Counts and their pages.
    Counts,
    /// What is for operators and Prometheus.
    Operators,
}

impl Listener {
    /// The page that a person is led to.
    pub(super) const fn first_page(self) -> &'static str {
        match self {
            Self::Whole | Self::Counts => stats::index::PAGE,
            Self::Operators => operator::PAGE,
        }
    }

    /// An address that works.
    pub(super) const fn example(self) -> &'static str {
        match self {
            Self::Whole | Self::Counts => "/v1/counters",
            Self::Operators => operator::PAGE,
        }
    }

    /// The list of addresses, for programs.
    pub(super) fn index(self) -> String {
        const TITLE: &str = "stitch-api: counts, timelines and how fresh they are\n\n";
        const COUNTS: &str = "\
            /v1/counters         the counters of this namespace\n\
            /stats               pages: a search for a key; /stats/COUNTER/KEY, /stats/COUNTER?key=A&key=B\n";
        const OPERATORS: &str = "\
            /operator            ranges, locks, members and restorations, for operators\n\
            /metrics             for Prometheus\n";
        const EVERY: &str = "\
            /openapi.json        every address and parameter, with examples\n\
            /health              200 while this process answers\n\
            /ready               200 while counts can be read, from when it has known how fresh they are\n";
        match self {
            Self::Whole => [TITLE, COUNTS, OPERATORS, EVERY].concat(),
            Self::Counts => [TITLE, COUNTS, EVERY].concat(),
            Self::Operators => [TITLE, OPERATORS, EVERY].concat(),
        }
    }
}

//! Which tokens are wanted of a stream of cells: to read a part of it, only the blocks are read that can have one of them.

use std::rc::Rc;

use stitch_common::range::TokenInterval;
use stitch_common::token::Token;

/// Tokens that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSelection {
    /// All of an interval.
    Interval(TokenInterval),
    /// These, in ascending order.
    Listed(Rc<[Token]>),
}

impl TokenSelection {
    /// Every token.
    pub const ALL: Self = Self::Interval(TokenInterval {
        first: Token(i64::MIN),
        last: Token(i64::MAX),
    });

    /// These tokens, in any order.
    pub fn listed(tokens: impl IntoIterator<Item = Token>) -> Self {
        let mut tokens: Vec<Token> = tokens.into_iter().collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self::Listed(tokens.into())
    }

    /// Whether `token` is wanted.
    pub fn contains(&self, token: Token) -> bool {
        match self {
            Self::Interval(interval) => interval.contains(token),
            Self::Listed(tokens) => tokens.binary_search(&token).is_ok(),
        }
    }

    /// Whether one of the tokens from `first` to `last` is wanted.
    pub fn overlaps(&self, first: Token, last: Token) -> bool {
        match self {
            Self::Interval(interval) => interval.first <= last && first <= interval.last,
            Self::Listed(tokens) => {
                let at = tokens.partition_point(|token| *token < first);
                tokens.get(at).is_some_and(|token| *token <= last)
            }
        }
    }
}

impl From<TokenInterval> for TokenSelection {
    fn from(interval: TokenInterval) -> Self {
        Self::Interval(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_left_out_only_if_they_have_no_wanted_token(
            wanted in proptest::collection::vec(-9..9_i64, 0..5),
            interval in any::<bool>(),
            first in -9..9_i64, length in 0..5_i64,
        ) {
            let selection = if let (true, [a, b, ..]) = (interval, &*wanted) {
                TokenInterval { first: Token(*a.min(b)), last: Token(*a.max(b)) }.into()
            } else {
                TokenSelection::listed(wanted.into_iter().map(Token))
            };
            let has_one = (first..=first + length).any(|token| selection.contains(Token(token)));
            prop_assert_eq!(selection.overlaps(Token(first), Token(first + length)), has_one);
        }
    }

    #[test]
    fn every_token_is_in_all() {
        for token in [i64::MIN, 0, i64::MAX] {
            assert!(TokenSelection::ALL.contains(Token(token)));
        }
    }
}

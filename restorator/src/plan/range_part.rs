//! Parts of a range, by tokens: what is wrong in a range is judged and corrected part by part where it does not fit into
//! memory at once.

use stitch_common::range::{RangeBits, RangeId, TokenInterval};
use stitch_common::token::Token;

/// The cells of a range with some tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangePart {
    pub(crate) range: RangeId,
    tokens: TokenInterval,
    division: Division,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Division {
    /// All of the range.
    Whole,
    /// All of the range, which did not fit together with others.
    Alone,
    /// Not all of the range.
    Part,
}

impl RangePart {
    /// All cells of `range`.
    pub(crate) fn whole(bits: RangeBits, range: RangeId) -> Self {
        Self {
            range,
            tokens: bits.interval(range),
            division: Division::Whole,
        }
    }

    /// The same, not to be judged together with other ranges.
    pub(crate) const fn alone(self) -> Self {
        let division = match self.division {
            Division::Whole | Division::Alone => Division::Alone,
            Division::Part => Division::Part,
        };
        Self { division, ..self }
    }

    /// Whether it may be judged together with other ranges.
    pub(crate) const fn may_have_others(&self) -> bool {
        matches!(self.division, Division::Whole)
    }

    /// Its tokens, if it is not all of the range.
    pub(crate) fn tokens(&self) -> Option<TokenInterval> {
        (self.division == Division::Part).then_some(self.tokens)
    }

    /// Divides it into pieces of about the same size: fewer if it has fewer tokens.
    pub(crate) fn divide(self, pieces: u64) -> Vec<Self> {
        let parts = divide(self.tokens, pieces);
        let division = match parts.len() {
            1 => self.division,
            _ => Division::Part,
        };
        let part = |tokens| Self {
            tokens,
            division,
            ..self
        };
        parts.into_iter().map(part).collect()
    }

    /// Its halves; `None` if it has a single token.
    pub(crate) fn halves(self) -> Option<Vec<Self>> {
        let halves = self.divide(2);
        (halves.len() == 2).then_some(halves)
    }
}

/// Divides `interval` into pieces of about the same size.
pub(crate) fn divide(interval: TokenInterval, pieces: u64) -> Vec<TokenInterval> {
    let first = i128::from(interval.first.0);
    let size = i128::from(interval.last.0) - first + 1;
    let pieces = i128::from(pieces).clamp(1, size);
    let start = |piece: i128| first + size * piece / pieces;
    let token = |at: i128| Token(i64::try_from(at).expect("within the interval"));
    (0..pieces)
        .map(|piece| TokenInterval {
            first: token(start(piece)),
            last: token(start(piece + 1) - 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_an_interval_cover_every_token_once() {
        for bits in [0, 1, 5, 12] {
            let bits = RangeBits::new(bits).unwrap();
            for range in bits.ranges().take(3) {
                let whole = bits.interval(range);
                for pieces in [1, 3, 32] {
                    let divided = divide(whole, pieces);
                    assert_eq!(divided.len(), usize::try_from(pieces).unwrap());
                    assert_eq!(divided[0].first, whole.first);
                    assert_eq!(divided[divided.len() - 1].last, whole.last);
                    let neighbours = divided.windows(2);
                    neighbours.for_each(|pair| assert_eq!(pair[0].last.0 + 1, pair[1].first.0));
                }
            }
        }
    }

    #[test]
    fn a_single_token_is_not_divided() {
        let one = TokenInterval {
            first: Token(7),
            last: Token(7),
        };
        assert_eq!(divide(one, 32), [one]);
    }

    #[test]
    fn a_range_is_halved_down_to_single_tokens_and_then_no_more() {
        let whole = RangePart::whole(RangeBits::new(0).unwrap(), RangeId(0));
        assert_eq!((whole.tokens(), whole.may_have_others()), (None, true));
        assert!(!whole.alone().may_have_others());
        let mut part = whole;
        for _ in 0..64 {
            part = part.halves().unwrap()[1];
        }
        let last = part.tokens().unwrap();
        assert_eq!((last.first, last.last), (Token(i64::MAX), Token(i64::MAX)));
        assert_eq!(part.halves(), None);
    }
}

//! Numbers that people and programs write as text.

use std::fmt::Display;
use std::str::FromStr;

/// The number that `text` writes in decimal digits, without blanks, plus sign and leading zeros: a number has one spelling, so
/// that no two programs read it differently.
#[must_use]
pub fn plain_number<T: FromStr + Display>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(plain_number("0"), Some(0_u16));
        assert_eq!(plain_number("65535"), Some(65_535_u16));
        assert_eq!(plain_number("-7"), Some(-7_i32));
        for text in [
            "", "+5", "05", "00", "-0", " 5", "5 ", "5\u{a0}", "\u{665}", "\u{ff15}", "0x5", "5.0",
            "65536",
        ] {
            assert_eq!(plain_number::<u16>(text), None, "{text:?}");
        }
    }
}

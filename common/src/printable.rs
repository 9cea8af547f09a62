//! Text from outside (a key of an event, a server's words) as a terminal or a log may show it. JSON has it as it is.

use std::borrow::Cow;

/// The text with every character escaped (`\u{1b}`) that would move the cursor, colour, end the line or turn the
/// direction of what follows; and the backslash, so that no two texts look the same.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' | '\\' => escaped.extend(character.escape_default()),
            _ if is_escaped(character) => escaped.extend(character.escape_unicode()),
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// [`printable`], of a text whose lines are meant: line ends stay, and so does the backslash.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    let moves = |character: char| character != '\n' && character != '\\' && is_escaped(character);
    if !text.chars().any(moves) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if moves(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_escaped(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\\' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_text_of_any_language_is_shown_as_it_is() {
        for text in ["3135556", "track/ä 漢字 🎵", ""] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_escaped() {
        assert_eq!(printable("x\u{1b}[2K\r"), "x\\u{1b}[2K\\r");
        assert_eq!(printable("a\nb\t\\"), "a\\nb\\t\\\\");
        assert_eq!(
            printable("\u{9b}1m\u{202e}\u{2028}"),
            "\\u{9b}1m\\u{202e}\\u{2028}"
        );
        assert_eq!(printable_lines("a\nb\u{7}\r\\"), "a\nb\\u{7}\\u{d}\\");
    }

    proptest! {
        #[test]
        fn nothing_that_is_printed_controls_a_terminal_and_no_two_texts_look_the_same(a in any::<String>(), b in any::<String>()) {
            prop_assert!(!printable(&a).chars().any(char::is_control));
            prop_assert_eq!(a == b, printable(&a) == printable(&b));
        }
    }
}

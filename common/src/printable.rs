//! Text that may come from anywhere (a key of an event, a server's words), on its way to a person's terminal or into a log.
//!
//! A line end forges a line, an escape sequence drives the terminal, a character that turns the direction of writing or is
//! invisible shows something else than what is there. All of them are written as `\n`, `\r`, `\t` or `\u{1b}`. Data stays
//! as it is: in JSON they are `\u001b`, which any parser reads back.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// The text with every character escaped that a terminal or a log would not show as what it is; and the backslash, so
/// that no two texts look the same.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\\' || !is_printable(c))
}

/// [`printable`], of a sentence in one line: the backslash stays.
#[must_use]
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !is_printable(c))
}

/// [`printable`], of a text whose lines are meant: line ends stay, and so does the backslash.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && !is_printable(c))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            _ if !is_escaped(character) => escaped.push(character),
            '\n' | '\r' | '\t' | '\\' => escaped.extend(character.escape_default()),
            _ => escaped.extend(character.escape_unicode()),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal and a log show `c` as what it is: no control character, none that turns the direction of writing,
/// none that is invisible.
#[must_use]
pub const fn is_printable(c: char) -> bool {
    !matches!(
        c,
        // C0, DEL and C1: line ends, escape sequences.
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Format characters: soft hyphen, marks and embeddings of direction, joiners, byte order mark, annotations.
        | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // Ends of lines and paragraphs; letters and blanks that are empty.
        | '\u{2028}' | '\u{2029}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}'
        | '\u{ffa0}' | '\u{2800}'
    )
}

/// The JSON of `value`, in which every character that a terminal would not show as what it is is written as `\u….`: any
/// parser reads it back. Whatever leaves a program as JSON is made by this, or rewritten by [`write_json`].
///
/// # Errors
/// The value does not serialise.
pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(JSON_BYTES);
    append_json(&mut bytes, value)?;
    Ok(bytes)
}

/// Appends [`json`] to `bytes`.
///
/// # Errors
/// The value does not serialise.
pub fn append_json<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    value: &T,
) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(
        bytes, Printable,
    ))
}

/// Room for an answer of the API: a count, or a series of a month.
const JSON_BYTES: usize = 2048;

/// Compact JSON; what JSON itself does not escape (DEL, C1, marks of direction) occurs only within its strings.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_json(fragment, writer)
    }
}

/// Rewrites JSON text: the same values, in characters that a terminal shows as what they are.
///
/// # Errors
/// `out` fails.
pub fn write_json<W: io::Write + ?Sized>(json: &str, out: &mut W) -> io::Result<()> {
    let mut rest = json;
    let raw = |(_, c): &(usize, char)| *c != '\n' && !is_printable(*c);
    while let Some((at, c)) = rest.char_indices().find(raw) {
        out.write_all(&rest.as_bytes()[..at])?;
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_text_of_any_language_is_shown_as_it_is() {
        for text in ["3135556", "track/ä 漢字 🎵 नमस्ते ❤\u{fe0f}", ""] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_escaped() {
        assert_eq!(printable("x\u{1b}[2K\r"), "x\\u{1b}[2K\\r");
        assert_eq!(printable("a\nb\t\\"), "a\\nb\\t\\\\");
        assert_eq!(
            printable("\u{9b}1m\u{202e}\u{2028}\u{200b}\u{feff}\u{e0041}\u{7f}"),
            "\\u{9b}1m\\u{202e}\\u{2028}\\u{200b}\\u{feff}\\u{e0041}\\u{7f}"
        );
        assert_eq!(printable_line("a\nb\\"), "a\\nb\\");
        assert_eq!(printable_lines("a\nb\u{7}\r\\"), "a\nb\\u{7}\\r\\");
    }

    proptest! {
        #[test]
        fn nothing_that_is_printed_controls_a_terminal_and_no_two_texts_look_the_same(a in any::<String>(), b in any::<String>()) {
            prop_assert!(printable(&a).chars().all(is_printable));
            prop_assert!(printable_line(&a).chars().all(is_printable));
            prop_assert!(printable_lines(&a).chars().all(|c| c == '\n' || is_printable(c)));
            prop_assert_eq!(a == b, printable(&a) == printable(&b));
        }

        #[test]
        fn json_means_what_it_meant_and_has_nothing_raw(text in any::<String>()) {
            let json = serde_json::to_string(&[&text]).unwrap();
            let mut out = Vec::new();
            write_json(&json, &mut out).unwrap();
            let written = String::from_utf8(out).unwrap();
            prop_assert!(written.chars().all(is_printable));
            prop_assert_eq!(String::from_utf8(super::json(&[&text]).unwrap()).unwrap(), &*written);
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&written).unwrap(), [text]);
        }
    }
}

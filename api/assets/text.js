// Texts of others, above all keys, where no element of the page encloses them: within a sentence, in a file name, in a
// spreadsheet. There, too, they change the reading of nothing but themselves.
"use strict";

/** What turns a text, or ends what turns it. */
const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
/** The part of them that can end the isolation of a text. What else turns it ends with the isolation. */
const ISOLATES = /[\u2066-\u2069]/g;
/** How a formula begins, also behind quotation marks, which parsers of cells may drop. */
const FORMULA = /^"*[=+\-@\uff1d\uff0b\uff0d\uff20]/;

/** `text` as a part of a sentence: the rest is read as if it were not there. `page.rs` has the same. */
function isolated(text) {
  return `\u2068${text.replace(ISOLATES, "")}\u2069`;
}

/** The name of a file: its last letters are its type. */
function fileName(name) {
  return name.replace(DIRECTIONS, "");
}

/** A cell of CSV (RFC 4180) that no spreadsheet takes for a formula, or for several cells one of which is one: some take
 * semicolons, tabs or line ends for separators. */
function csvCell(text) {
  const plain = text
    .replace(/^[\t\r\n]/, "'$&")
    .replace(/[^;\t\r\n]+/g, (part) => (FORMULA.test(part) ? `'${part}` : part));
  return `"${plain.replaceAll('"', '""')}"`;
}

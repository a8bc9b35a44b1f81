//! Where the two databases differ.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

thread_local! {
    /// What [`sqlite`] made of texts that are a part of the program, by their address and length and by which
    /// lists have one value.
    static TRANSLATED: RefCell<HashMap<(usize, usize, Singles), Rc<str>>> = RefCell::default();
}

/// Which list parameters have one value: such a list is that value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Singles(u64);

impl Singles {
    /// How many parameters are looked at.
    pub(crate) const MOST: usize = 64;

    /// The parameter at this index, counted from 0 and below [`Singles::MOST`], is one.
    pub(crate) fn note(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    /// Whether the parameter of a number, counted from 1, is one.
    pub(crate) fn has(self, number: &str) -> bool {
        let index = number.parse::<u32>().ok().and_then(|number| number.checked_sub(1));
        index.and_then(|index| self.0.checked_shr(index)).is_some_and(|bits| bits & 1 == 1)
    }
}

/// As [`sqlite`], once for a text that is a part of the program.
pub(crate) fn sqlite_once(text: &'static str, singles: Singles) -> Rc<str> {
    let place = (text.as_ptr().addr(), text.len(), singles);
    let translate = || sqlite(text, singles).into();
    TRANSLATED.with_borrow_mut(|known| known.entry(place).or_insert_with(translate).clone())
}

/// Turns a statement in PostgreSQL's dialect into SQLite's: placeholders are `?1`, and list parameters are
/// JSON arrays there, but for those of one value: SQLite makes a table of an array for each time that the
/// statement runs.
pub(crate) fn sqlite(text: &str, singles: Singles) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut pieces = text.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        if !piece.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
        } else if let Some((number, rest)) = piece.split_once(')')
            && let Some(end) = open_list(&mut out, singles.has(number))
        {
            out.push_str(number);
            out.push_str(end);
            out.push_str(rest);
            continue;
        } else {
            out.push('?');
        }
        out.push_str(piece);
    }
    out
}

/// Replaces the beginning of a list at the end of what was written, if there is one; what ends it.
fn open_list(out: &mut String, single: bool) -> Option<&'static str> {
    for (list, of_one, of_many) in [("= ANY(", "= ?", "IN"), ("<> ALL(", "<> ?", "NOT IN")] {
        if out.ends_with(list) {
            out.truncate(out.len() - list.len());
            if single {
                out.push_str(of_one);
                return Some("");
            }
            out.push_str(of_many);
            out.push_str(" (SELECT value FROM json_each(?");
            return Some("))");
        }
    }
    None
}

/// What a migration that means nothing to PostgreSQL begins with.
const SQLITE_ONLY: &str = "-- For SQLite only";

/// A migration's text for SQLite (`true`) or PostgreSQL (`false`).
pub(crate) fn schema(text: &str, sqlite: bool) -> String {
    if !sqlite && text.starts_with(SQLITE_ONLY) {
        "SELECT 1".to_owned()
    } else if sqlite {
        // Texts are compared byte by byte there.
        text.replace(" COLLATE BYTES", "")
    } else {
        let text = text.replace(" COLLATE BYTES", " COLLATE \"C\"");
        text.replace(" BLOB", " BYTEA").replace(" WITHOUT ROWID", "")
    }
}

const ESCAPE: char = '\u{10FFFF}';

/// The first byte of [`ESCAPE`], and of few other characters.
const FIRST_OF_ESCAPE: u8 = 0xF4;

/// PostgreSQL's TEXT cannot hold U+0000, which Matrix strings may; both databases store it escaped.
pub(crate) fn encode_text(text: String) -> String {
    if memchr::memchr2(0, FIRST_OF_ESCAPE, text.as_bytes()).is_none() {
        return text;
    }
    text.replace(ESCAPE, "\u{10FFFF}1").replace('\0', "\u{10FFFF}0")
}

/// Undoes [`encode_text`].
pub(crate) fn decode_text(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    text.replace("\u{10FFFF}0", "\0").replace("\u{10FFFF}1", "\u{10FFFF}")
}

/// List parameters as SQLite takes them.
pub(crate) mod json_list {
    pub(crate) fn texts(values: Vec<String>) -> String {
        let encoded: Vec<_> = values.into_iter().map(super::encode_text).collect();
        serde_json::to_string(&encoded).unwrap_or_else(|_| "[]".to_owned())
    }

    pub(crate) fn ints(values: Vec<i64>) -> String {
        serde_json::to_string(&values).unwrap_or_else(|_| "[]".to_owned())
    }
}

/// A list parameter as PostgreSQL takes it.
pub(crate) fn array_of_texts(values: Vec<String>) -> Vec<String> {
    values.into_iter().map(encode_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_parameters_become_json_arrays_or_single_values() {
        let text = "SELECT 1 WHERE a = ANY($2) AND b <> ALL($1) AND c = $3 OR d = '$.x'";
        assert_eq!(
            sqlite(text, Singles::default()),
            "SELECT 1 WHERE a IN (SELECT value FROM json_each(?2)) \
             AND b NOT IN (SELECT value FROM json_each(?1)) AND c = ?3 OR d = '$.x'"
        );
        let mut singles = Singles::default();
        singles.note(1);
        assert_eq!(
            sqlite(text, singles),
            "SELECT 1 WHERE a = ?2 AND b NOT IN (SELECT value FROM json_each(?1)) AND c = ?3 \
             OR d = '$.x'"
        );
        singles.note(0);
        assert_eq!(
            &*sqlite_once(text, singles),
            "SELECT 1 WHERE a = ?2 AND b <> ?1 AND c = ?3 OR d = '$.x'"
        );
    }

    #[test]
    fn every_string_survives() {
        for text in ["", "a", "\0", "\u{10FFFF}", "\u{10FFFF}0", "\0\u{10FFFF}1\0", "x\u{10FFFF}\0"]
        {
            let encoded = encode_text(text.to_owned());
            assert!(!encoded.contains('\0'));
            assert_eq!(decode_text(encoded), text);
        }
    }
}

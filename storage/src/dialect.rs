//! Where the two databases differ.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

thread_local! {
    /// What [`sqlite`] made of texts that are a part of the program, by their address and length.
    static TRANSLATED: RefCell<HashMap<(usize, usize), Rc<str>>> = RefCell::default();
}

/// As [`sqlite`], once for a text that is a part of the program.
pub(crate) fn sqlite_once(text: &'static str) -> Rc<str> {
    let place = (text.as_ptr().addr(), text.len());
    let translate = || sqlite(text).into();
    TRANSLATED.with_borrow_mut(|known| known.entry(place).or_insert_with(translate).clone())
}

/// Turns a statement in PostgreSQL's dialect into SQLite's: placeholders are `?1`, and list parameters are
/// JSON arrays there.
pub(crate) fn sqlite(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut pieces = text.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        if !piece.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
        } else if let Some((number, rest)) = piece.split_once(')').filter(|_| opens_list(&mut out))
        {
            out.push_str(number);
            out.push_str("))");
            out.push_str(rest);
            continue;
        } else {
            out.push('?');
        }
        out.push_str(piece);
    }
    out
}

/// Replaces the beginning of a list at the end of what was written, if there is one.
fn opens_list(out: &mut String) -> bool {
    for (operator, keyword) in [("= ANY(", "IN"), ("<> ALL(", "NOT IN")] {
        if out.ends_with(operator) {
            out.truncate(out.len() - operator.len());
            out.push_str(keyword);
            out.push_str(" (SELECT value FROM json_each(?");
            return true;
        }
    }
    false
}

/// A migration's text for SQLite (`true`) or PostgreSQL (`false`).
pub(crate) fn schema(text: &str, sqlite: bool) -> String {
    if sqlite {
        // Texts are compared byte by byte there.
        text.replace(" COLLATE BYTES", "")
    } else {
        let text = text.replace(" COLLATE BYTES", " COLLATE \"C\"");
        text.replace(" BLOB", " BYTEA").replace(" WITHOUT ROWID", "")
    }
}

const ESCAPE: char = '\u{10FFFF}';

/// PostgreSQL's TEXT cannot hold U+0000, which Matrix strings may; both databases store it escaped.
pub(crate) fn encode_text(text: String) -> String {
    if !text.contains(['\0', ESCAPE]) {
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
    fn list_parameters_become_json_arrays() {
        let text = sqlite("SELECT 1 WHERE a = ANY($2) AND b <> ALL($1) AND c = $3 OR d = '$.x'");
        assert_eq!(
            text,
            "SELECT 1 WHERE a IN (SELECT value FROM json_each(?2)) \
             AND b NOT IN (SELECT value FROM json_each(?1)) AND c = ?3 OR d = '$.x'"
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

//! Where the two databases differ.

use std::borrow::Cow;

/// Turns a statement in PostgreSQL's dialect into SQLite's: list parameters are JSON arrays there.
pub(crate) fn sqlite(text: Cow<'static, str>) -> Cow<'static, str> {
    if !text.contains("= ANY($") && !text.contains("<> ALL($") {
        return text;
    }
    let text = replace_list(&text, "= ANY($", "IN");
    Cow::Owned(replace_list(&text, "<> ALL($", "NOT IN"))
}

/// Replaces each `{operator}n)` by `{keyword} (SELECT value FROM json_each($n))`.
fn replace_list(text: &str, operator: &str, keyword: &str) -> String {
    let mut pieces = text.split(operator);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (number, rest) = piece.split_once(')').unwrap_or((piece, ""));
        out.push_str(keyword);
        out.push_str(" (SELECT value FROM json_each($");
        out.push_str(number);
        out.push_str("))");
        out.push_str(rest);
    }
    out
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

/// List parameters as PostgreSQL takes them.
pub(crate) mod array {
    pub(crate) fn texts(values: Vec<String>) -> Vec<String> {
        values.into_iter().map(super::encode_text).collect()
    }

    pub(crate) fn ints(values: Vec<i64>) -> Vec<i64> {
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_parameters_become_json_arrays() {
        let text = sqlite("SELECT 1 WHERE a = ANY($2) AND b <> ALL($1) AND c = $3".into());
        assert_eq!(
            text,
            "SELECT 1 WHERE a IN (SELECT value FROM json_each($2)) \
             AND b NOT IN (SELECT value FROM json_each($1)) AND c = $3"
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

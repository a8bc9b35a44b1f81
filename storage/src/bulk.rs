//! Writing many rows with few statements.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use crate::db::{Conn, Result, Value, composed};

/// How many rows one statement takes at most. A bounded set of texts (64, 32, 16 … rows) keeps the
/// drivers' statement caches effective.
const LARGEST: usize = 64;

/// The texts by head, tail and count of rows.
type Texts = HashMap<(&'static str, &'static str, usize), &'static str>;

/// Each text is made once and kept: seven for each call of [`insert`] in the program.
static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(Mutex::default);

/// Inserts `rows`, or updates by them, with statements `{head} VALUES (…), (…) {tail}`. Each row has the
/// same number of values; no two rows may have the same key when `tail` updates on conflict. The values of a
/// row are made when it is its turn: those of all rows of a large room would be several times what it says.
pub(crate) async fn insert(
    conn: &mut Conn,
    head: &'static str,
    tail: &'static str,
    rows: impl IntoIterator<Item = Vec<Value>, IntoIter: ExactSizeIterator + Send>,
) -> Result<()> {
    let mut rows = rows.into_iter().peekable();
    let columns = rows.peek().map_or(0, Vec::len);
    while rows.len() > 0 {
        let count = largest_step(rows.len());
        let values: Vec<Value> = rows.by_ref().take(count).flatten().collect();
        composed(text(head, tail, count, columns), values).execute(conn).await?;
    }
    Ok(())
}

/// The largest power of two that is at most `rows` and [`LARGEST`]; 1 of none.
pub(crate) fn largest_step(rows: usize) -> usize {
    let mut step = LARGEST;
    while step > rows {
        step /= 2;
    }
    step.max(1)
}

fn text(head: &'static str, tail: &'static str, rows: usize, columns: usize) -> &'static str {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    texts.entry((head, tail, rows)).or_insert_with(|| compose(head, tail, rows, columns).leak())
}

fn compose(head: &str, tail: &str, rows: usize, columns: usize) -> String {
    let mut text = format!("{head} VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            text.push_str(&format!("{comma}${}", row * columns + column + 1));
        }
        text.push(')');
    }
    text.push(' ');
    text.push_str(tail);
    text
}

/// Keeps of the rows with the same key only the last, in the order of the keys.
pub(crate) fn last_by_key<T, K: Ord>(
    rows: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut by_key = std::collections::BTreeMap::new();
    for row in rows {
        by_key.insert(key(&row), row);
    }
    by_key.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_numbers_the_placeholders() {
        assert_eq!(
            compose("INSERT INTO t (a, b)", "ON CONFLICT DO NOTHING", 2, 2),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
    }

    #[test]
    fn steps_cover_every_count() {
        for count in 1..300_usize {
            let mut left = count;
            while left > 0 {
                let step = largest_step(left);
                assert!(step >= 1 && step <= left.min(LARGEST));
                left -= step;
            }
        }
    }

    #[test]
    fn the_last_row_of_a_key_wins() {
        let rows = last_by_key([("b", 1), ("a", 2), ("b", 3)], |row| row.0);
        assert_eq!(rows, [("a", 2), ("b", 3)]);
    }
}

//! What a server wrote into its SQLite database, and the same written by a loop that does nothing else.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value};

/// Rows that are in a database and were not in an earlier copy of it, new or changed.
#[derive(Debug)]
pub(super) struct Written(Vec<Table>);

#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// Copies a database that a server may have open.
pub(super) fn copy(of: &Path, to: &Path) -> Result<()> {
    let to = to.to_str().context("an odd path")?;
    read_only(of)?.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

fn read_only(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).with_context(|| path.display().to_string())
}

impl Written {
    /// What was written since the copy.
    pub(super) fn between(before: &Path, after: &Path) -> Result<Self> {
        let conn = read_only(after)?;
        conn.execute("ATTACH ?1 AS before", [before.to_str().context("an odd path")?])?;
        let mut tables = Vec::new();
        for name in strings(
            &conn,
            "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY rowid",
            [],
        )? {
            let columns =
                strings(&conn, "SELECT name FROM pragma_table_info(?1)", [name.as_str()])?;
            let rows = new_rows(&conn, &name, &columns)?;
            tables.push(Table { name, columns, rows });
        }
        tables.retain(|table| !table.rows.is_empty());
        Ok(Self(tables))
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.0.iter().map(|table| table.rows.len()).sum()
    }

    /// One column of the rows of a table.
    pub(super) fn texts(&self, table: &str, column: &str) -> Vec<&str> {
        let texts = self.0.iter().filter(|it| it.name == table).flat_map(|table| {
            let place = table.columns.iter().position(|it| it == column);
            table.rows.iter().filter_map(move |row| match row.get(place?) {
                Some(Value::Text(text)) => Some(text.as_str()),
                _ => None,
            })
        });
        texts.collect()
    }

    /// Writes all of it into the copy, in as many transactions as there are sizes, each with a part of the rows
    /// of each table that corresponds to its size. How long that took.
    pub(super) fn write(&self, into: &Path, sizes: &[f64]) -> Result<Duration> {
        let mut conn = Connection::open(into)?;
        // As the server has it: a commit is on disk when it returns.
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; \
             PRAGMA cache_size = -16384",
        )?;
        let statements: Vec<_> = self.0.iter().map(Table::insert).collect();
        let (all, mut so_far) = (sizes.iter().sum::<f64>(), 0.0);
        let begun = Instant::now();
        for size in sizes {
            let (from, to) = (so_far / all, (so_far + size) / all);
            let transaction = conn.transaction()?;
            for (table, statement) in self.0.iter().zip(&statements) {
                let mut insert = transaction.prepare_cached(statement)?;
                for row in table.part(from, to) {
                    insert.execute(params_from_iter(row))?;
                }
            }
            transaction.commit()?;
            so_far += size;
        }
        Ok(begun.elapsed())
    }
}

impl Table {
    fn insert(&self) -> String {
        let places = vec!["?"; self.columns.len()].join(", ");
        format!("INSERT OR REPLACE INTO {} VALUES ({places})", self.with_columns())
    }

    fn with_columns(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|name| quoted(name)).collect();
        format!("{} ({})", quoted(&self.name), columns.join(", "))
    }

    /// The rows between two parts of the whole, from 0 to 1.
    fn part(&self, from: f64, to: f64) -> &[Vec<Value>] {
        let place = |part: f64| share(self.rows.len(), part);
        self.rows.get(place(from)..place(to)).unwrap_or_default()
    }
}

/// So many of `count`, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a number is not above it"
)]
fn share(count: usize, part: f64) -> usize {
    ((count as f64 * part.clamp(0.0, 1.0)).round() as usize).min(count)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn strings(
    conn: &Connection,
    statement: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<String>> {
    let mut statement = conn.prepare(statement)?;
    let rows = statement.query_map(parameters, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn new_rows(conn: &Connection, table: &str, columns: &[String]) -> Result<Vec<Vec<Value>>> {
    let names: Vec<_> = columns.iter().map(|name| quoted(name)).collect();
    let (names, table) = (names.join(", "), quoted(table));
    let mut statement = conn.prepare(&format!(
        "SELECT {names} FROM main.{table} EXCEPT SELECT {names} FROM before.{table}"
    ))?;
    let rows = statement
        .query_map([], |row| (0..columns.len()).map(|column| row.get(column)).collect())?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let [now, before] = ["now.db", "before.db"].map(|name| directory.path().join(name));
        let conn = Connection::open(&now).unwrap();
        conn.execute_batch(
            "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT); \
             CREATE TABLE others (\"a key\" TEXT PRIMARY KEY) WITHOUT ROWID; \
             INSERT INTO things VALUES (1, 'one'), (2, 'two')",
        )
        .unwrap();
        copy(&now, &before).unwrap();
        conn.execute_batch(
            "UPDATE things SET name = 'second' WHERE id = 2; INSERT INTO things VALUES (3, 'three'); \
             INSERT INTO others VALUES ('x')",
        )
        .unwrap();
        let written = Written::between(&before, &now).unwrap();
        assert_eq!(written.rows(), 3);
        assert_eq!(written.texts("things", "name"), ["second", "three"]);
        written.write(&before, &[1.0, 3.0]).unwrap();
        assert_eq!(Written::between(&before, &now).unwrap().rows(), 0);
    }

    #[test]
    fn each_row_is_in_one_part() {
        let rows = (0..7).map(|number| vec![Value::Integer(number)]).collect();
        let table = Table { name: "t".into(), columns: vec!["c".into()], rows };
        let ends = [0.0, 0.1, 0.35, 0.9, 1.0];
        let parts = ends.windows(2).map(|ends| table.part(ends[0], ends[1]).len());
        assert_eq!(parts.sum::<usize>(), 7);
    }
}

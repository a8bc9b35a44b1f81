//! Rows, and what their columns can be read as.

use rusqlite::types::ValueRef;
use sqlx::{Row as _, postgres::PgRow};

use super::{
    DbError, Result,
    sqlite::{self, Kept, Stepped},
};
use crate::dialect;

/// A result row.
#[derive(Debug)]
pub enum Row<'r> {
    /// Of SQLite, while the statement stands there.
    Stepped(Stepped<'r>),
    /// Of SQLite, when it was kept.
    Kept(&'r Kept),
    /// Of PostgreSQL.
    Postgres(&'r PgRow),
}

/// A result row for when the statement has gone on.
#[derive(Debug)]
pub enum KeptRow {
    /// Of SQLite.
    Sqlite(Kept),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl KeptRow {
    /// As [`Row::get`].
    ///
    /// # Errors
    ///
    /// When the column does not exist or holds another type.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T> {
        self.row().get(index)
    }

    /// The row, to be read.
    #[must_use]
    pub fn row(&self) -> Row<'_> {
        match self {
            Self::Sqlite(row) => Row::Kept(row),
            Self::Postgres(row) => Row::Postgres(row),
        }
    }
}

/// A column in either database.
enum Column<'a> {
    Sqlite(ValueRef<'a>),
    Postgres(&'a PgRow),
}

impl Row<'_> {
    /// Column `index` (from 0) as a `T`: `i64` of BIGINT, `i16` of SMALLINT, `String` of TEXT,
    /// `Vec<u8>` of BLOB, `bool` of a SMALLINT flag, and their `Option`s.
    ///
    /// # Errors
    ///
    /// When the column does not exist or holds another type.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T> {
        T::from_column(self, index)
    }

    /// How many columns the row has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Stepped(row) => row.len(),
            Self::Kept(row) => row.len(),
            Self::Postgres(row) => row.columns().len(),
        }
    }

    fn column(&self, index: usize) -> Result<Column<'_>> {
        Ok(match self {
            Self::Stepped(row) => Column::Sqlite(row.column(index)?),
            Self::Kept(row) => Column::Sqlite(row.column(index)?),
            Self::Postgres(row) => Column::Postgres(row),
        })
    }

    /// Whether the row has no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a column can be read as.
pub trait FromColumn: Sized {
    /// Reads column `index` of `row`.
    ///
    /// # Errors
    ///
    /// When the column does not exist or holds another type.
    fn from_column(row: &Row<'_>, index: usize) -> Result<Self>;
}

impl FromColumn for Option<i64> {
    fn from_column(row: &Row<'_>, index: usize) -> Result<Self> {
        match row.column(index)? {
            Column::Sqlite(column) => sqlite::integer(column, index),
            Column::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl FromColumn for Option<i16> {
    fn from_column(row: &Row<'_>, index: usize) -> Result<Self> {
        let too_large =
            |_| DbError::Corrupt(format!("a number that is too large in column {index}"));
        match row.column(index)? {
            Column::Sqlite(column) => {
                let number = sqlite::integer(column, index)?;
                number.map(i16::try_from).transpose().map_err(too_large)
            }
            Column::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl FromColumn for Option<Vec<u8>> {
    fn from_column(row: &Row<'_>, index: usize) -> Result<Self> {
        match row.column(index)? {
            Column::Sqlite(column) => sqlite::bytes(column, index),
            Column::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl FromColumn for Option<String> {
    fn from_column(row: &Row<'_>, index: usize) -> Result<Self> {
        let text: Self = match row.column(index)? {
            Column::Sqlite(column) => sqlite::text(column, index)?,
            Column::Postgres(row) => row.try_get(index)?,
        };
        Ok(text.map(dialect::decode_text))
    }
}

macro_rules! never_null {
    ($($t:ty),*) => { $(
        impl FromColumn for $t {
            fn from_column(row: &Row<'_>, index: usize) -> Result<Self> {
                Option::<Self>::from_column(row, index)?
                    .ok_or_else(|| DbError::Corrupt(format!("NULL in column {index}")))
            }
        }
    )* };
}

never_null!(i64, i16, Vec<u8>, String);

impl FromColumn for bool {
    fn from_column(row: &Row<'_>, index: usize) -> Result<Self> {
        Ok(i16::from_column(row, index)? != 0)
    }
}

//! Rows, and what their columns can be read as.

use sqlx::{Row as _, postgres::PgRow};

use super::{DbError, Result, sqlite::Columns};
use crate::dialect;

/// A result row.
#[derive(Debug)]
pub enum Row {
    /// Of SQLite.
    Sqlite(Columns),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
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
            Self::Sqlite(row) => row.len(),
            Self::Postgres(row) => row.columns().len(),
        }
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
    fn from_column(row: &Row, index: usize) -> Result<Self>;
}

impl FromColumn for Option<i64> {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        match row {
            Row::Sqlite(row) => row.integer(index),
            Row::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl FromColumn for Option<i16> {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        match row {
            Row::Sqlite(row) => row.integer(index)?.map(i16::try_from).transpose().map_err(|_| {
                DbError::Corrupt(format!("a number that is too large in column {index}"))
            }),
            Row::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl FromColumn for Option<Vec<u8>> {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        match row {
            Row::Sqlite(row) => row.bytes(index),
            Row::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl FromColumn for Option<String> {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        let text: Self = match row {
            Row::Sqlite(row) => row.text(index)?,
            Row::Postgres(row) => row.try_get(index)?,
        };
        Ok(text.map(dialect::decode_text))
    }
}

macro_rules! never_null {
    ($($t:ty),*) => { $(
        impl FromColumn for $t {
            fn from_column(row: &Row, index: usize) -> Result<Self> {
                Option::<Self>::from_column(row, index)?
                    .ok_or_else(|| DbError::Corrupt(format!("NULL in column {index}")))
            }
        }
    )* };
}

never_null!(i64, i16, Vec<u8>, String);

impl FromColumn for bool {
    fn from_column(row: &Row, index: usize) -> Result<Self> {
        Ok(i16::from_column(row, index)? != 0)
    }
}

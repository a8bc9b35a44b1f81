//! Bringing the schema to this version.

use std::borrow::Cow;

use sqlx::{
    AssertSqlSafe, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::{
    db::{Db, Result},
    dialect,
};

/// Numbered and forward only; a released one is never changed.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "foundation", include_str!("../../migrations/0001_foundation.sql"))];

/// Applies the migrations that the database has not seen.
///
/// # Errors
///
/// When one fails, or when the database was migrated by a newer version.
pub async fn run(db: &Db) -> Result<()> {
    run_to(db, i64::MAX).await
}

/// Applies the migrations up to and including number `last`.
///
/// # Errors
///
/// As [`run`].
pub(crate) async fn run_to(db: &Db, last: i64) -> Result<()> {
    let migrations = MIGRATIONS.iter().filter(|(version, ..)| *version <= last);
    let migrator = Migrator::with_migrations(
        migrations.map(|(version, name, text)| migration(db, *version, name, text)).collect(),
    );
    match db {
        Db::Sqlite { writer, .. } => migrator.run(writer).await?,
        Db::Postgres(pool) => migrator.run(pool).await?,
    }
    Ok(())
}

fn migration(db: &Db, version: i64, name: &'static str, text: &str) -> Migration {
    let text = AssertSqlSafe(dialect::schema(text, db.is_sqlite())).into_sql_str();
    Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text, false)
}

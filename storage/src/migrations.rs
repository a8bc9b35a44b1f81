//! Bringing the schema to this version.

use std::borrow::Cow;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr as _,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use crate::{
    db::{Db, DbError, Pools, Result},
    dialect,
};

/// Numbered and forward only; a released one is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "foundation", include_str!("../../migrations/0001_foundation.sql")),
    (2, "notary", include_str!("../../migrations/0002_notary.sql")),
    (3, "push", include_str!("../../migrations/0003_push.sql")),
    (4, "relations", include_str!("../../migrations/0004_relations.sql")),
    (5, "times", include_str!("../../migrations/0005_times.sql")),
    (6, "reports", include_str!("../../migrations/0006_reports.sql")),
    (7, "versions outside", include_str!("../../migrations/0007_versions_outside.sql")),
    (8, "search", include_str!("../../migrations/0008_search.sql")),
    (13, "guests", include_str!("../../migrations/0013_guests.sql")),
    (16, "admin", include_str!("../../migrations/0016_admin.sql")),
    (17, "notices", include_str!("../../migrations/0017_notices.sql")),
    (18, "purging", include_str!("../../migrations/0018_purging.sql")),
    (19, "user_directory", include_str!("../../migrations/0019_user_directory.sql")),
    (24, "passes", include_str!("../../migrations/0024_passes.sql")),
    (25, "threepids", include_str!("../../migrations/0025_threepids.sql")),
    (26, "retention", include_str!("../../migrations/0026_retention.sql")),
    (30, "thread subscriptions", include_str!("../../migrations/0030_thread_subscriptions.sql")),
    (31, "delayed events", include_str!("../../migrations/0031_delayed_events.sql")),
    (40, "encryption", include_str!("../../migrations/0040_encryption.sql")),
    (41, "to_device", include_str!("../../migrations/0041_to_device.sql")),
    (42, "key_backup", include_str!("../../migrations/0042_key_backup.sql")),
    (43, "dehydrated_devices", include_str!("../../migrations/0043_dehydrated_devices.sql")),
    (47, "media", include_str!("../../migrations/0047_media.sql")),
    (48, "rate_limits", include_str!("../../migrations/0048_rate_limits.sql")),
    (49, "application services", include_str!("../../migrations/0049_application_services.sql")),
    (50, "partial state", include_str!("../../migrations/0050_partial_state.sql")),
    (55, "auth ranks", include_str!("../../migrations/0055_auth_ranks.sql")),
    (56, "last errors", include_str!("../../migrations/0056_last_errors.sql")),
    (60, "pushers", include_str!("../../migrations/0060_pushers.sql")),
    (65, "sliding sync", include_str!("../../migrations/0065_sliding_sync.sql")),
    (70, "media_quarantine", include_str!("../../migrations/0070_media_quarantine.sql")),
    (71, "email pushers", include_str!("../../migrations/0071_email_pushers.sql")),
    (
        75,
        "own rules by membership",
        include_str!("../../migrations/0075_own_rules_by_membership.sql"),
    ),
    (76, "transactions", include_str!("../../migrations/0076_transactions.sql")),
    (77, "row IDs", include_str!("../../migrations/0077_row_ids.sql")),
    (78, "inboxes", include_str!("../../migrations/0078_inboxes.sql")),
    (
        79,
        "notifications in threads",
        include_str!("../../migrations/0079_thread_notifications.sql"),
    ),
    (80, "sums of notifications", include_str!("../../migrations/0080_notification_sums.sql")),
    (81, "places of relations", include_str!("../../migrations/0081_places_of_relations.sql")),
    (82, "tokens by origin", include_str!("../../migrations/0082_tokens_by_origin.sql")),
];

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
    let outcome = match db.pools() {
        Pools::Sqlite { writer, .. } => {
            let options = SqliteConnectOptions::new().filename(writer.path());
            let mut conn = options.synchronous(SqliteSynchronous::Full).connect().await?;
            let outcome = migrator.run(&mut conn).await;
            conn.close().await?;
            outcome
        }
        Pools::Postgres(pool) => migrator.run(pool).await,
    };
    outcome.map_err(|error| match error {
        MigrateError::VersionMissing(found) => newer(found),
        other => other.into(),
    })
}

/// The number of the newest migration.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

fn newer(found: i64) -> DbError {
    let known = newest();
    DbError::Unavailable(format!(
        "the database has schema {found}, written by a newer version of Starling; this one knows \
         schemas up to {known}"
    ))
}

fn migration(db: &Db, version: i64, name: &'static str, text: &str) -> Migration {
    let text = AssertSqlSafe(dialect::schema(text, db.is_sqlite())).into_sql_str();
    Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text, false)
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::{db::sql, test_support::TempDatabase};

    #[test]
    fn every_file_is_in_the_list() {
        let files = std::fs::read_dir("../migrations").unwrap();
        let mut numbers: Vec<i64> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .map(|name| name.split('_').next().unwrap().parse().unwrap())
            .collect();
        numbers.sort_unstable();
        assert!(numbers.iter().eq(MIGRATIONS.iter().map(|(number, ..)| number)), "{numbers:?}");
    }

    #[tokio::test]
    async fn a_database_of_every_earlier_schema_is_upgraded() {
        for (schema, ..) in MIGRATIONS {
            for database in TempDatabase::all().await.unwrap() {
                let db = Db::open(&database.url, 2).await.unwrap();
                run_to(&db, *schema).await.unwrap();
                run(&db).await.unwrap();
                db.close().await;
                database.remove().await.unwrap();
            }
        }
    }

    /// Else SQLite has one more tree for the table, which each new row is written to.
    #[tokio::test]
    async fn a_key_that_is_a_number_is_the_row_id() {
        let database = TempDatabase::sqlite().unwrap();
        let db = Db::open(&database.url, 2).await.unwrap();
        run(&db).await.unwrap();
        let found = sql("SELECT m.name FROM sqlite_master m \
             JOIN pragma_index_list(m.name) i ON i.origin = 'pk' \
             WHERE m.type = 'table' AND m.sql NOT LIKE '%WITHOUT ROWID%' \
             AND (SELECT GROUP_CONCAT(c.type) FROM pragma_index_info(i.name) k \
               JOIN pragma_table_info(m.name) c ON c.cid = k.cid) = 'BIGINT'")
        .map(&mut db.read().await.unwrap(), |row| row.get::<String>(0))
        .await
        .unwrap();
        // The driver's own.
        assert_eq!(found, ["_sqlx_migrations"]);
        db.close().await;
        database.remove().await.unwrap();
    }

    #[tokio::test]
    async fn what_has_a_position_keeps_it_with_row_ids() {
        const ROWS: [(&str, &str); 4] = [
            (
                "INSERT INTO epochs VALUES (7, 8, 9)",
                "SELECT epoch + start_pos * created_ts FROM epochs",
            ),
            (
                "INSERT INTO positions VALUES (9000000000000000000, 1, 'r', 'e', 'l')",
                "SELECT pos + kind FROM positions WHERE subject || object || detail = 'rel'",
            ),
            (
                "INSERT INTO timeline (pos, room_id, event_id, depth, local, thread_root, \
                 notify_count, highlight_count, notifies) VALUES (-5, 'r', 'e', 3, 1, 't', 20, 400, 2)",
                "SELECT pos + depth + local + notify_count + highlight_count + notifies \
                 FROM timeline WHERE room_id || event_id || thread_root = 'ret'",
            ),
            (
                "INSERT INTO search_documents VALUES (11, 12, '13')",
                "SELECT pos + room + LENGTH(terms) FROM search_documents",
            ),
        ];
        for database in TempDatabase::all().await.unwrap() {
            let db = Db::open(&database.url, 2).await.unwrap();
            run_to(&db, 76).await.unwrap();
            let mut conn = db.write().await.unwrap();
            for (put, _) in ROWS {
                sql(put).execute(&mut conn).await.unwrap();
            }
            conn.commit().await.unwrap();
            run(&db).await.unwrap();
            let mut conn = db.read().await.unwrap();
            for ((put, get), wanted) in
                ROWS.into_iter().zip([79, 9_000_000_000_000_000_001, 421, 25])
            {
                let row = sql(get).optional(&mut conn).await.unwrap().unwrap();
                assert_eq!(row.get::<i64>(0).unwrap(), wanted, "{put}");
            }
            drop(conn);
            db.close().await;
            database.remove().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_device_is_counted() {
        for database in TempDatabase::all().await.unwrap() {
            let db = Db::open(&database.url, 2).await.unwrap();
            run_to(&db, 77).await.unwrap();
            let mut conn = db.write().await.unwrap();
            for put in [
                "INSERT INTO devices (user_id, device_id, created_ts) VALUES ('a', 'd', 0), ('a', 'e', 0)",
                "INSERT INTO to_device VALUES ('a', 'd', 1, '{}'), ('a', 'd', 2, '{}'), ('b', 'd', 3, '{}')",
            ] {
                sql(put).execute(&mut conn).await.unwrap();
            }
            conn.commit().await.unwrap();
            run(&db).await.unwrap();
            let counts = sql("SELECT to_device_waiting FROM devices ORDER BY device_id")
                .map(&mut db.read().await.unwrap(), |row| row.get::<i64>(0))
                .await
                .unwrap();
            assert_eq!(counts, [2, 0]);
            db.close().await;
            database.remove().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_stands_in_old_rows_is_summed_up_and_placed() {
        for database in TempDatabase::all().await.unwrap() {
            let db = Db::open(&database.url, 2).await.unwrap();
            run_to(&db, 79).await.unwrap();
            let mut conn = db.write().await.unwrap();
            for put in [
                "INSERT INTO notifications VALUES ('u', 'r', 127, 'a', 'main', 1, 0), \
                 ('u', 'r', 128, 'b', 'main', 1, 1), ('u', 'r', 255, 'c', 'main', 1, 0), \
                 ('u', 'r', 200, 'd', '$thread', 1, 0)",
                "INSERT INTO events (room_id, event_id, type, sender, depth, origin_server_ts, \
                 received_ts, flags, json) VALUES ('r', 'e', 't', 's', 30, 4000, 0, 0, '{}')",
                "INSERT INTO relations VALUES ('r', 'p', 'e', 'm.thread', 't', 's')",
            ] {
                sql(put).execute(&mut conn).await.unwrap();
            }
            conn.commit().await.unwrap();
            run(&db).await.unwrap();
            let mut conn = db.read().await.unwrap();
            let sums =
                sql("SELECT stretch, thread_root, notify, highlight FROM notification_sums \
                 WHERE room_id = 'r' AND user_id = 'u' ORDER BY stretch, notify DESC")
                .map(&mut conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .await
                .unwrap();
            let sums: Vec<(i64, String, i64, i64)> = sums;
            let s = str::to_owned;
            let wanted = [(0, s("main"), 1, 0), (1, s("main"), 2, 1), (1, s("$thread"), 1, 0)];
            assert_eq!(sums, wanted);
            let place = sql("SELECT depth + origin_server_ts FROM relations WHERE event_id = 'e'");
            let place = place.optional(&mut conn).await.unwrap().unwrap();
            assert_eq!(place.get::<i64>(0).unwrap(), 4030);
            drop(conn);
            db.close().await;
            database.remove().await.unwrap();
        }
    }
}

//! Databases of other versions and of other processes.

use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use starling_storage::{Options, Storage, test_support::TempDatabase};

/// Pretends that a later version has been at work.
const LATER: &str = "INSERT INTO _sqlx_migrations \
    (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE, '', 0)";

#[tokio::test]
async fn a_newer_database_is_refused_with_one_line() {
    for database in TempDatabase::all().await.unwrap() {
        database.open().await.unwrap().close().await;
        match database.url.strip_prefix("sqlite:") {
            Some(path) => {
                let mut conn = SqliteConnection::connect(path).await.unwrap();
                conn.execute(LATER).await.unwrap();
                conn.close().await.unwrap();
            }
            None => {
                let mut conn = PgConnection::connect(&database.url).await.unwrap();
                conn.execute(LATER).await.unwrap();
                conn.close().await.unwrap();
            }
        }
        let error = database.open().await.unwrap_err().to_string();
        assert!(error.contains("schema 9999"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        database.remove().await.unwrap();
    }
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    for database in TempDatabase::all().await.unwrap() {
        for _ in 0..2 {
            database.open().await.unwrap().close().await;
        }
        database.remove().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_has_ended() {
    for database in TempDatabase::all().await.unwrap() {
        let open = async || {
            let (url, instance) = (database.url.clone(), "a test".to_owned());
            Storage::open(Options { url, max_connections: 2, instance, alone: true }).await
        };
        let first = open().await.unwrap();
        let error = open().await.unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        first.close().await;
        open().await.unwrap().close().await;
        database.remove().await.unwrap();
    }
}

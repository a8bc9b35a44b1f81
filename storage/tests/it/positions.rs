//! Nobody who reads up to a position ever misses what is below it, nor sees a position twice.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use starling_storage::{
    Change, Fact, Storage, facts,
    receipts::{self, ReceiptRow},
    test_support::TempDatabase,
};
use tokio::task::JoinSet;

use crate::{account_data, on_each};

const WRITERS: usize = 16;
const CHANGES: usize = 20;

async fn write_all(storage: &Storage, user: &'static str) {
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let storage = storage.clone();
        tasks.spawn(async move {
            for n in 0..CHANGES {
                storage.commit(account_data(user, writer * CHANGES + n)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn positions_are_dense_and_the_feed_tells_each_once() {
    on_each(|storage| async move {
        let mut listener = storage.feed().listen();
        write_all(&storage, "@a:b").await;
        let total = i64::try_from(WRITERS * CHANGES).unwrap();
        let mut heard = Vec::new();
        while heard.len() < WRITERS * CHANGES {
            let facts = listener.next(storage.db()).await.unwrap().unwrap();
            heard.extend(facts.iter().map(|f| f.pos));
        }
        assert_eq!(heard, (1..=total).collect::<Vec<_>>());
        let mut conn = storage.read().await.unwrap();
        let stored = facts::between(&mut conn, 0, i64::MAX, i64::MAX).await.unwrap();
        assert_eq!(stored.iter().map(|f| f.pos).collect::<Vec<_>>(), heard);
        assert_eq!(facts::head(&mut conn).await.unwrap(), total);
        assert_eq!(storage.feed().head(), total);
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_falls_behind_reads_what_it_missed() {
    on_each(|storage| async move {
        let mut listener = storage.feed().listen();
        for n in 0..300 {
            storage.commit(account_data("@a:b", n)).await.unwrap();
        }
        let mut heard = Vec::new();
        while heard.len() < 300 {
            let facts = listener.next(storage.db()).await.unwrap().unwrap();
            heard.extend(facts.iter().map(|f| f.pos));
        }
        assert_eq!(heard, (1..=300).collect::<Vec<_>>());
    })
    .await;
}

fn receipt(n: usize) -> Change {
    let mut change = Change::new();
    let at = change.fact(Fact::Receipt {
        room_id: "!r".to_owned(),
        user_id: format!("@{n}:b"),
        private: false,
    });
    let row =
        ReceiptRow { room_id: "!r".to_owned(), user_id: format!("@{n}:b"), ..Default::default() };
    change.write(receipts::Write::Put { row, at });
    change
}

/// Two processes' worth of writers on one PostgreSQL; the first is stopped in the middle of its
/// commit, holding its positions, by a lock on a table that it writes after the counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_paused_in_its_commit_hides_nothing_from_readers() {
    let Some(database) = TempDatabase::postgres().await.unwrap() else { return };
    let (first, second) = (database.open().await.unwrap(), database.open().await.unwrap());
    let mut lock = PgConnection::connect(&database.url).await.unwrap();
    lock.execute("BEGIN; LOCK TABLE receipts IN SHARE MODE").await.unwrap();

    let paused = tokio::spawn({
        let first = first.clone();
        async move { first.commit(receipt(0)).await.unwrap() }
    });
    wait_for_blocked(&database.url, 1).await;
    let waiting = tokio::spawn({
        let second = second.clone();
        async move { second.commit(account_data("@a:b", 0)).await.unwrap() }
    });
    wait_for_blocked(&database.url, 2).await;

    let mut conn = second.read().await.unwrap();
    assert_eq!(facts::head(&mut conn).await.unwrap(), 0, "an uncommitted position is visible");
    assert_eq!(facts::between(&mut conn, 0, i64::MAX, 10).await.unwrap(), []);
    drop(conn);

    lock.execute("COMMIT").await.unwrap();
    paused.await.unwrap();
    waiting.await.unwrap();
    let mut conn = second.read().await.unwrap();
    let stored = facts::between(&mut conn, 0, i64::MAX, 10).await.unwrap();
    assert_eq!(stored.iter().map(|f| f.pos).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(stored[0].fact, Fact::Receipt { .. }), "the paused writer's comes first");
    drop(conn);
    first.close().await;
    second.close().await;
    database.remove().await.unwrap();
}

/// Two writers of two storages, and a reader who follows the head: it sees each position once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_beside_two_writers_sees_every_position_once() {
    let Some(database) = TempDatabase::postgres().await.unwrap() else { return };
    let (first, second) = (database.open().await.unwrap(), database.open().await.unwrap());
    let reader = tokio::spawn(follow(second.clone(), WRITERS * CHANGES * 2));
    let mut listener = second.feed().listen();
    tokio::join!(write_all(&first, "@a:b"), write_all(&second, "@c:d"));
    let seen = reader.await.unwrap();
    let total = i64::try_from(WRITERS * CHANGES * 2).unwrap();
    assert_eq!(seen, (1..=total).collect::<Vec<_>>());
    let mut heard = Vec::new();
    while heard.len() < seen.len() {
        let facts = listener.next(second.db()).await.unwrap().unwrap();
        heard.extend(facts.iter().map(|f| f.pos));
    }
    assert_eq!(heard, seen, "the second process hears of the first one's commits in order");
    first.close().await;
    second.close().await;
    database.remove().await.unwrap();
}

/// Reads up to the head, then from there on, as /sync does.
async fn follow(storage: Storage, total: usize) -> Vec<i64> {
    let mut seen: Vec<i64> = Vec::new();
    while seen.len() < total {
        let mut conn = storage.snapshot().await.unwrap();
        let head = facts::head(&mut conn).await.unwrap();
        let after = seen.last().copied().unwrap_or(0);
        let facts = facts::between(&mut conn, after, head, i64::MAX).await.unwrap();
        seen.extend(facts.iter().map(|f| f.pos));
        drop(conn);
        tokio::task::yield_now().await;
    }
    seen
}

/// The control: positions from a sequence, which is what the counter row replaces. The same reading
/// misses the paused writer's row, so the tests above can fail.
#[tokio::test]
async fn a_reader_of_a_sequence_misses_a_paused_writer() {
    let Some(database) = TempDatabase::postgres().await.unwrap() else { return };
    let mut first = PgConnection::connect(&database.url).await.unwrap();
    let mut second = PgConnection::connect(&database.url).await.unwrap();
    second.execute("CREATE TABLE naive (pos BIGSERIAL PRIMARY KEY, who TEXT)").await.unwrap();
    first.execute("BEGIN; INSERT INTO naive (who) VALUES ('paused')").await.unwrap();
    second.execute("INSERT INTO naive (who) VALUES ('other')").await.unwrap();
    let rows = second.fetch_all("SELECT pos FROM naive WHERE pos > 0").await.unwrap();
    let head: i64 = rows.last().unwrap().get(0);
    first.execute("COMMIT").await.unwrap();
    let later = second.fetch_all(sqlx::query("SELECT who FROM naive WHERE pos > $1").bind(head));
    assert_eq!(rows.len() + later.await.unwrap().len(), 1, "the naive reader has missed a row");
    database.remove().await.unwrap();
}

/// Waits until `count` backends wait for a lock.
async fn wait_for_blocked(url: &str, count: i64) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let blocked = "SELECT COUNT(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
    loop {
        let row = conn.fetch_one(blocked).await.unwrap();
        if row.get::<i64, _>(0) >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

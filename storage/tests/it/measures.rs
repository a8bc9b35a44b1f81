//! What is counted while the database works.

use starling_storage::{CommitError, Storage, db::sql};
use tokio::task::yield_now;

use crate::{message, new_room, on_each};

#[tokio::test]
async fn changes_are_counted_by_what_became_of_them() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        storage.commit(message("!r", "$1", 1)).await.unwrap();
        let stale = storage.commit(message("!r", "$2", 1)).await;
        assert!(matches!(stale, Err(CommitError::Conflict)));
        let again = storage.commit(new_room("!r")).await;
        assert!(matches!(again, Err(CommitError::NameTaken)));
        let writer = &storage.measures().writer;
        let outcomes = [&writer.committed, &writer.conflicts, &writer.taken, &writer.failed];
        assert_eq!(outcomes.map(|counter| counter.get()), [2, 1, 1, 0]);
        let (batch, transaction) = (writer.batch.spread(), writer.transaction.spread());
        assert_eq!((batch.count, batch.sum, transaction.count), (2, 2.0, 2));
        let commit = writer.commit.spread();
        assert!(commit.count == 2 && commit.sum <= transaction.sum, "{commit:?}");
    })
    .await;
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

#[tokio::test]
async fn who_has_a_connection_and_who_waits_for_one_is_counted() {
    on_each(|storage| async move {
        let most = storage.db().connections().most;
        let mut held = Vec::new();
        for _ in 0..most {
            held.push(storage.read().await.unwrap());
        }
        assert_eq!(storage.db().connections().used, most);
        let measures = &storage.measures().connections;
        let waited = measures.waited.spread().count;
        let reader = tokio::spawn(one(storage.clone()));
        until(|| measures.waiting.get() > 0).await;
        drop(held);
        reader.await.unwrap();
        assert!(measures.waited.spread().count > waited);
        until(|| storage.db().connections().used == 0).await;
        assert!(storage.db().connections().idle > 0);
    })
    .await;
}

async fn one(storage: Storage) {
    let mut conn = storage.read().await.unwrap();
    sql("SELECT 1").execute(&mut conn).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_long_is_counted() {
    on_each(|storage| async move {
        let slow = &storage.measures().slow;
        let long = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500000) \
                    SELECT COUNT(*) FROM n";
        let mut conn = storage.read().await.unwrap();
        sql(long).execute(&mut conn).await.unwrap();
        assert_eq!(slow.statements.get(), 0, "nothing is noticed before it is said from when on");
        slow.notice_from(1);
        sql(long).execute(&mut conn).await.unwrap();
        let executed = slow.statements.get();
        assert!(executed > 0);
        sql(long).all(&mut conn).await.unwrap();
        assert!(slow.statements.get() > executed);
    })
    .await;
}

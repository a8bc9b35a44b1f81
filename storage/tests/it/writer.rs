//! Claims, conflicts, and bad changes among good ones.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use futures_util::poll;
use starling_storage::{
    Change, Claim, CommitError, Fact,
    accounts::{self, UserRow},
    events::{self, ClientRequest, ClientTransaction, transactions},
    rooms,
    timeline::{self, Entry},
};
use tokio::task::JoinSet;

use crate::{account_data, message, new_room, on_each};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn transaction(event_id: &str, created_ts: i64) -> ClientTransaction {
    let request = ClientRequest::new("@a:b", "D", "send", "1");
    ClientTransaction { request, event_id: event_id.to_owned(), created_ts }
}

#[tokio::test]
async fn a_room_takes_one_change_per_version() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        storage.commit(message("!r", "$1", 1)).await.unwrap();
        let stale = storage.commit(message("!r", "$2", 1)).await;
        assert!(matches!(stale, Err(CommitError::Conflict)));
        storage.commit(message("!r", "$3", 2)).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        assert_eq!(rooms::get(&mut conn, "!r").await.unwrap().unwrap().version, 3);
        assert!(events::get(&mut conn, "!r", "$2").await.unwrap().is_none());
        let page = timeline::newest(&mut conn, "!r", 0, i64::MAX, 10).await.unwrap();
        let ids: Vec<_> = page.iter().map(|entry| (&*entry.event_id, entry.pos)).collect();
        assert_eq!(ids, [("$3", 2), ("$1", 1)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_id_has_one_winner() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        let mut tasks = JoinSet::new();
        for n in 0..20 {
            let storage = storage.clone();
            tasks.spawn(async move {
                let mut change = account_data("@a:b", n);
                change.claim(Claim::Transaction(transaction(&format!("${n}"), 7)));
                (n, storage.commit(change).await)
            });
        }
        let outcomes = tasks.join_all().await;
        let winners: Vec<_> = outcomes.iter().filter(|(_, r)| r.is_ok()).map(|(n, _)| n).collect();
        assert_eq!(winners.len(), 1);
        for (_, outcome) in outcomes.iter().filter(|(_, r)| r.is_err()) {
            match outcome {
                Err(CommitError::TransactionTaken(event_id)) => {
                    assert_eq!(*event_id, format!("${}", winners[0]));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(storage.feed().head(), 1, "losers write nothing");
    })
    .await;
}

#[tokio::test]
async fn transaction_ids_are_forgotten_after_a_time() {
    on_each(|storage| async move {
        storage.commit(new_room("!r")).await.unwrap();
        let claim = async |event_id: &str, day: i64| {
            let mut change = account_data("@a:b", 1);
            change.claim(Claim::Transaction(transaction(event_id, day * DAY_MS)));
            match storage.commit(change).await {
                Ok(_) => event_id.to_owned(),
                Err(CommitError::TransactionTaken(event_id)) => event_id,
                Err(error) => panic!("{error}"),
            }
        };
        let forget = async |before_day| {
            let mut change = Change::new();
            let before = before_day * DAY_MS;
            change.write(events::Write::ForgetTransactions { before });
            storage.commit(change).await.unwrap();
        };
        let request = transaction("", 0).request;
        let outcome = async |day: i64| {
            let mut conn = storage.read().await.unwrap();
            transactions::outcome(&mut conn, request, day * DAY_MS).await.unwrap()
        };
        for days in [-10, 3, 73] {
            assert_eq!(outcome(days).await, None);
            assert_eq!(claim("$1", days).await, "$1");
            for later in 0..7 {
                forget(days + later - 7).await;
                assert_eq!(claim("$2", days + later).await, "$1", "{later}");
                assert_eq!(outcome(days + later).await.as_deref(), Some("$1"));
            }
            forget(days + 14).await;
        }
        assert_eq!(claim("$3", 84).await, "$3");
    })
    .await;
}

#[test]
fn the_parts_of_a_request_do_not_run_together() {
    let parts =
        [["ab", "c", "", ""], ["a", "bc", "", ""], ["", "ab", "c", ""], ["ab", "", "c", ""]];
    let requests =
        parts.map(|[user, device, path, txn]| ClientRequest::new(user, device, path, txn));
    for (place, request) in requests.iter().enumerate() {
        assert!(!requests[place + 1..].contains(request), "{place}");
    }
}

#[tokio::test]
async fn a_user_id_is_given_once() {
    on_each(|storage| async move {
        let register = |hash: &str| {
            let mut change = Change::new();
            change.claim(Claim::NewUser(UserRow {
                user_id: "@a:b".to_owned(),
                password_hash: Some(hash.to_owned()),
                ..UserRow::default()
            }));
            change
        };
        let (one, two) = tokio::join!(storage.commit(register("1")), storage.commit(register("2")));
        assert!(one.is_ok());
        assert!(matches!(two, Err(CommitError::NameTaken)));
        let mut conn = storage.read().await.unwrap();
        let user = accounts::user(&mut conn, "@a:b").await.unwrap().unwrap();
        assert_eq!(user.password_hash.as_deref(), Some("1"));
    })
    .await;
}

/// The timeline has a place for this event already: an error of the statement, not a lost claim.
fn repeated_place() -> Change {
    let mut change = Change::new();
    let at = change.fact(Fact::State { room_id: "!s".to_owned() });
    let entry =
        Entry { room_id: "!s".to_owned(), event_id: "$taken".to_owned(), ..Entry::default() };
    change.write(timeline::Write::Append { entry, at });
    change
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bad_change_does_not_take_others_with_it() {
    on_each(|storage| async move {
        for room in ["!r", "!s"] {
            storage.commit(new_room(room)).await.unwrap();
        }
        storage.commit(message("!s", "$taken", 1)).await.unwrap();
        let mut tasks = JoinSet::new();
        for n in 0..40 {
            let storage = storage.clone();
            tasks.spawn(async move {
                let change = if n % 10 == 3 { repeated_place() } else { account_data("@a:b", n) };
                (n, storage.commit(change).await)
            });
        }
        for (n, outcome) in tasks.join_all().await {
            match outcome {
                Ok(_) => assert_ne!(n % 10, 3),
                Err(CommitError::Db(_)) => assert_eq!(n % 10, 3),
                Err(other) => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(storage.feed().head(), 1 + 36);
    })
    .await;
}

#[tokio::test]
async fn a_closed_storage_has_written_what_it_took() {
    on_each(|storage| async move {
        let mut tasks = JoinSet::new();
        for n in 0..50 {
            let storage = storage.clone();
            tasks.spawn(async move { storage.commit(account_data("@a:b", n)).await });
        }
        let outcomes = tasks.join_all().await;
        assert!(outcomes.iter().all(Result::is_ok));
        storage.close().await;
        let late = storage.commit(account_data("@a:b", 99)).await;
        assert!(matches!(late, Err(CommitError::Stopped)));
    })
    .await;
}

/// sqlx 0.9 leaves a transaction open on PostgreSQL if the future that begins it is dropped.
#[tokio::test]
async fn a_reader_that_goes_away_leaves_no_transaction_behind() {
    on_each(|storage| async move {
        for polls in 0..60 {
            let mut reader = Box::pin(storage.snapshot());
            for _ in 0..polls {
                if poll!(reader.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        storage.commit(new_room("!r")).await.unwrap();
        for version in 1..=20 {
            storage.commit(message("!r", &format!("${version}"), version)).await.unwrap();
            let mut conn = storage.read().await.unwrap();
            assert_eq!(rooms::get(&mut conn, "!r").await.unwrap().unwrap().version, version + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn what_comes_first_is_done_before_anybody_hears() {
    on_each(|storage| async move {
        let (done, order) = (Arc::new(AtomicI64::new(-1)), storage.feed().clone());
        storage.commit(new_room("!r")).await.unwrap();
        let before = order.head();
        let noted = done.clone();
        let first = move || noted.store(order.head(), Ordering::SeqCst);
        let submitted = storage.submit_and(message("!r", "$1", 1), first).await.unwrap();
        submitted.outcome().await.unwrap();
        assert_eq!(done.load(Ordering::SeqCst), before, "the head had not moved yet");
        assert!(storage.feed().head() > before);

        let stale = message("!r", "$2", 1);
        let stale = storage.submit_and(stale, || panic!("nothing was written")).await.unwrap();
        assert!(matches!(stale.outcome().await, Err(CommitError::Conflict)));
    })
    .await;
}

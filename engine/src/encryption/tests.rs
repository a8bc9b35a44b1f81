//! Keys, lists and messages on both databases.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use ruma::{UserId, device_id, user_id};
use serde_json::{Value, json, value::RawValue};
use starling_storage::{
    Change, Fact,
    accounts::{self, devices},
    encryption::{
        Write, lists,
        outbox::{self, OutboxRow},
    },
    memberships::{self, MembershipRow},
    rooms::{self, ServerUpdate},
    to_device,
};

use super::{
    claim, news,
    send::{self, Sending},
    upload::{self, Upload, UploadError},
};
use crate::{
    Engine,
    backups::{self, BackupError, Session},
    reading::access::Asking,
    sync::{Request, sync},
    testing::{TestEngine, on_each_database},
};

fn raw(value: Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(&value).unwrap()
}

fn keys(names: impl IntoIterator<Item = String>) -> Upload {
    let key = |name: String| (format!("signed_curve25519:{name}"), raw(json!({ "key": name })));
    Upload { one_time_keys: names.into_iter().map(key).collect(), ..Upload::default() }
}

async fn claim_one(engine: &Engine, user: &UserId) -> Option<String> {
    let wanted = BTreeMap::from([("DEVICE".to_owned(), "signed_curve25519".to_owned())]);
    let wanted = claim::Wanted::from([(user.to_string(), wanted)]);
    let mut claimed = claim::local(engine, &wanted).await.unwrap();
    let mut devices = claimed.remove(user.as_str())?;
    devices.remove("DEVICE")?.keys().next().cloned()
}

#[tokio::test]
async fn each_key_is_handed_out_once_at_the_same_time_and_after_a_restart() {
    on_each_database(async |test| {
        let (alice, _) = test.user("alice").await.unwrap();
        let device = device_id!("DEVICE");
        let names = (0..120).map(|number| format!("{number:03}"));
        upload::upload(&test.engine, &alice, device, keys(names.clone())).await.unwrap();
        let claims = (0..100).map(|_| claim_one(&test.engine, &alice));
        let mut seen: BTreeSet<String> =
            join_all(claims).await.into_iter().map(Option::unwrap).collect();
        assert_eq!(seen.len(), 100);
        let test = test.restarted().await.unwrap();
        for _ in 0..20 {
            assert!(seen.insert(claim_one(&test.engine, &alice).await.unwrap()));
        }
        assert_eq!(claim_one(&test.engine, &alice).await, None);
        let counts = upload::upload(&test.engine, &alice, device, keys(names)).await.unwrap();
        assert_eq!(counts["signed_curve25519"], 0, "what was handed out does not come back");
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_device_that_is_gone_takes_its_keys_along() {
    on_each_database(async |test| {
        let (alice, _) = test.user("alice").await.unwrap();
        let device = device_id!("DEVICE");
        upload::upload(&test.engine, &alice, device, keys(["A".to_owned()])).await.unwrap();
        remove_device(&test, &alice).await;
        assert_eq!(claim_one(&test.engine, &alice).await, None);
        let refused = upload::upload(&test.engine, &alice, device, Upload::default()).await;
        assert!(matches!(refused, Err(UploadError::NoDevice)), "{refused:?}");
        test
    })
    .await
    .unwrap();
}

async fn remove_device(test: &TestEngine, user: &UserId) {
    let mut change = Change::new();
    let (user_id, device_id) = (user.to_string(), "DEVICE".to_owned());
    change.write(accounts::Write::Device(devices::Write::Remove { user_id, device_id }));
    change.fact(Fact::Devices { user_id: user.to_string() });
    test.engine.storage.commit(change).await.unwrap();
}

async fn sync_from(test: &TestEngine, user: &UserId, since: Option<&str>) -> (Vec<i64>, String) {
    let request = Request {
        since: since.map(|since| since.parse_token()),
        to_device: true,
        ..Request::default()
    };
    let asking = Asking { user_id: user, device_id: Some(device_id!("DEVICE")) };
    let answer = sync(&test.engine, asking, request).await.unwrap();
    let number = |event: &RawValue| {
        serde_json::from_str::<Value>(event.get()).unwrap()["content"]["n"].as_i64().unwrap()
    };
    (answer.to_device.events.iter().map(|event| number(event)).collect(), answer.next_batch)
}

trait ParseToken {
    fn parse_token(&self) -> crate::reading::token::SyncToken;
}

impl ParseToken for str {
    fn parse_token(&self) -> crate::reading::token::SyncToken {
        crate::reading::token::SyncToken::parse(self).unwrap()
    }
}

async fn say(test: &TestEngine, from: &UserId, to: &UserId, number: i64) {
    let device = BTreeMap::from([("*".to_owned(), raw(json!({ "n": number })))]);
    let messages = BTreeMap::from([(to.to_string(), device)]);
    let sending = Sending { kind: "m.test".to_owned(), txn_id: number.to_string(), messages };
    send::send(&test.engine, from, device_id!("DEVICE"), sending).await.unwrap();
}

#[tokio::test]
async fn messages_come_in_order_and_stay_until_they_are_acknowledged() {
    on_each_database(async |test| {
        let (alice, _) = test.user("alice").await.unwrap();
        let (bob, _) = test.user("bob").await.unwrap();
        let (_, start) = sync_from(&test, &bob, None).await;
        for number in 0..150 {
            say(&test, &alice, &bob, number).await;
        }
        say(&test, &alice, &bob, 149).await;
        let test = test.restarted().await.unwrap();
        let (first, next) = sync_from(&test, &bob, Some(&start)).await;
        assert_eq!(first, (0..100).collect::<Vec<_>>());
        let (again, _) = sync_from(&test, &bob, Some(&start)).await;
        assert_eq!(again, first, "the answer was lost");
        let (second, last) = sync_from(&test, &bob, Some(&next)).await;
        assert_eq!(second, (100..150).collect::<Vec<_>>());
        assert_eq!(sync_from(&test, &bob, Some(&last)).await.0, [0; 0]);
        let mut conn = test.engine.storage.read().await.unwrap();
        let all = to_device::waiting(&mut conn, bob.as_str(), "DEVICE", (0, i64::MAX), 10).await;
        assert_eq!(all.unwrap(), []);
        drop(conn);
        say(&test, &alice, &bob, 150).await;
        remove_device(&test, &bob).await;
        say(&test, &alice, &bob, 151).await;
        assert_eq!(sync_from(&test, &bob, None).await.0, [0; 0]);
        test
    })
    .await
    .unwrap();
}

/// Puts a user into a room in which a server is, as the rooms do.
async fn enter(test: &TestEngine, user: &UserId, room: &str, server: &str) {
    let mut change = Change::new();
    let (user_id, room_id) = (user.to_string(), room.to_owned());
    let fact = Fact::Membership { user_id: user_id.clone(), room_id: room_id.clone() };
    let at = change.fact(fact);
    let (membership, local) = ("join".to_owned(), user.server_name() == "test");
    let row = MembershipRow {
        user_id: user_id.clone(),
        room_id: room_id.clone(),
        membership,
        local,
        ..MembershipRow::default()
    };
    change.write(memberships::Write::Put { row, at });
    let server = server.to_owned();
    let update = ServerUpdate { room_id: room_id.clone(), server, joined_members: 1, at };
    change.write(rooms::Write::Server(update));
    let moved = lists::Write::Moved {
        room_id: room_id.clone(),
        user_id: user_id.clone(),
        joined: true,
        at,
    };
    change.write(Write::Lists(moved));
    if local {
        change.write(Write::Lists(lists::Write::Introduce { user_id, room_id }));
    }
    test.engine.storage.commit(change).await.unwrap();
}

async fn owed(test: &TestEngine, server: &str) -> Vec<OutboxRow> {
    let mut conn = test.engine.storage.read().await.unwrap();
    outbox::next(&mut conn, server, 100).await.unwrap()
}

async fn rename(test: &TestEngine, user: &UserId, name: &str) {
    let device = device_id!("DEVICE");
    crate::accounts::devices::rename(&test.engine, user, device, Some(name.to_owned()))
        .await
        .unwrap();
}

#[tokio::test]
async fn servers_are_told_what_follows_from_what_they_know() {
    on_each_database(async |test| {
        let (alice, _) = test.user("alice").await.unwrap();
        rename(&test, &alice, "first").await;
        assert_eq!(owed(&test, "a.org").await, [], "they share no room");
        enter(&test, &alice, "!a:test", "a.org").await;
        let introduced = owed(&test, "a.org").await;
        let [row] = introduced.as_slice() else { panic!("{introduced:?}") };
        assert_eq!((row.device_id.as_str(), row.pos), ("DEVICE", row.prev_pos));
        enter(&test, &alice, "!second:test", "a.org").await;
        assert_eq!(owed(&test, "a.org").await, introduced, "it knows her already");

        rename(&test, &alice, "second").await;
        let [changed] = owed(&test, "a.org").await.try_into().unwrap();
        assert!(changed.pos > row.pos);
        assert_eq!(changed.prev_pos, row.pos, "it was never told in between");
        // What changes while it is told stays, and follows.
        rename(&test, &alice, "third").await;
        let known = changed.pos;
        let mut change = Change::new();
        change.write(Write::Outbox(outbox::Write::Told { row: changed, known }));
        test.engine.storage.commit(change).await.unwrap();
        let [last] = owed(&test, "a.org").await.try_into().unwrap();
        assert_eq!(last.prev_pos, known);
        let mut change = Change::new();
        change.write(Write::Outbox(outbox::Write::Told { known: last.pos, row: last }));
        test.engine.storage.commit(change).await.unwrap();
        remove_device(&test, &alice).await;
        let [gone] = owed(&test, "a.org").await.try_into().unwrap();
        assert_eq!(gone.device_id, "DEVICE");
        assert_eq!(owed(&test, "test").await, [], "never itself");
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn who_shares_a_room_is_told_of_changes() {
    on_each_database(async |test| {
        let (alice, _) = test.user("alice").await.unwrap();
        let bob = user_id!("@bob:b.org");
        let now = async || {
            let answer = sync_from(&test, &alice, None).await.1;
            answer.as_str().parse_token()
        };
        let start = now().await;
        enter(&test, &alice, "!a:test", "test").await;
        let entered = now().await;
        enter(&test, bob, "!a:test", "b.org").await;
        let met = now().await;
        rename(&test, &alice, "desk").await;
        let end = now().await;
        let changes = async |from, to| {
            let lists = news::changes(&test.engine, &alice, from, to).await.unwrap();
            assert!(lists.left.is_empty());
            lists.changed.into_iter().collect::<Vec<_>>()
        };
        let (of_alice, of_bob) = (alice.to_string(), bob.to_string());
        assert_eq!(changes(&start, &end).await, [of_alice.clone(), of_bob.clone()]);
        assert!(changes(&entered, &met).await.contains(&of_bob));
        assert_eq!(changes(&met, &end).await, [of_alice]);
        assert_eq!(changes(&end, &end).await, [""; 0]);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn of_two_keys_in_a_backup_the_better_stays_and_counts_are_exact() {
    on_each_database(async |test| {
        let (alice, _) = test.user("alice").await.unwrap();
        let engine = &test.engine;
        let version = backups::create(engine, &alice, "a", &raw(json!({}))).await.unwrap();
        let session = |is_verified, first, forwarded_count| Session {
            first_message_index: first,
            forwarded_count,
            is_verified,
            session_data: raw(json!({ "n": 1.5 })),
        };
        let put = async |room: &str, name: &str, session: Session| {
            let sessions = BTreeMap::from([(name.to_owned(), session)]);
            let sessions = BTreeMap::from([(room.to_owned(), sessions)]);
            backups::put(engine, &alice, &version, sessions).await
        };
        let first = put("!r", "s", session(false, 5, 5)).await.unwrap();
        let same = put("!r", "s", session(false, 6, 0)).await.unwrap();
        assert_eq!((same.count, &same.etag), (1, &first.etag));
        let better = put("!r", "s", session(true, 9, 9)).await.unwrap();
        assert_eq!(better.count, 1);
        assert_ne!(better.etag, first.etag);
        for number in 0..1_100 {
            put("!many", &format!("{number:04}"), session(false, number, 0)).await.unwrap();
        }
        let mut pages = backups::pages(engine, &alice, &version, None).await.unwrap();
        let (mut names, mut count) = (BTreeSet::new(), 0);
        loop {
            let page = pages.next().await.unwrap();
            if page.is_empty() {
                break;
            }
            count += page.len();
            names.extend(page.into_iter().map(|(room, name, _)| (room, name)));
        }
        assert_eq!((count, names.len()), (1_101, 1_101));
        let newer = backups::create(engine, &alice, "a", &raw(json!({}))).await.unwrap();
        let refused = put("!r", "s", session(true, 0, 0)).await.unwrap_err();
        assert!(matches!(refused, BackupError::WrongVersion { current } if current == newer));
        test
    })
    .await
    .unwrap();
}

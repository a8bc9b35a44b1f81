//! What sliding sync tells beside rooms.

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::client::{User, path};

use super::connection::{Connection, all};
use crate::{
    client::keys::{claim, device_keys, fallback_key, one_time_keys, upload},
    support,
};

const MINUTE: Duration = Duration::from_secs(60);

fn with(extensions: Value) -> Value {
    let mut request = all(5, &[]);
    request["extensions"] = extensions;
    request
}

async fn to_device(sender: &User, to: &User, number: u64) {
    let number = number.to_string();
    let target = path("/_matrix/client/v3/sendToDevice/org.example.test/{}", &[&number]);
    let messages = json!({ "messages": { (&to.id): { (&to.device): { "number": number } } } });
    sender.api.put(&target, messages).await.unwrap().ok().unwrap();
}

fn numbers(answer: &Value) -> Vec<String> {
    let events = answer["extensions"]["to_device"]["events"].as_array().unwrap();
    events.iter().map(|event| event["content"]["number"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn messages_to_a_device_stay_until_it_has_them() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    for number in 1..=3 {
        to_device(&bob, &alice, number).await;
    }
    let wanted = |since: Option<&Value>, limit: u64| {
        let mut wanted = json!({ "enabled": true, "limit": limit });
        if let Some(since) = since {
            wanted["since"] = since.clone();
        }
        json!({ "extensions": { "to_device": wanted } })
    };
    let mut connection = Connection::new(&alice);
    let first = connection.ask(wanted(None, 2)).await;
    assert_eq!(numbers(&first), ["1", "2"]);
    // Nothing is lost with the answer: only `since` says that it came.
    let again = connection.ask(wanted(None, 2)).await;
    assert_eq!(numbers(&again), ["1", "2"]);
    let mut other = wanted(None, 100);
    other["conn_id"] = json!("other");
    assert_eq!(numbers(&Connection::new(&alice).ask(other).await), ["1", "2", "3"]);
    let next = &first["extensions"]["to_device"]["next_batch"];
    let rest = connection.ask(wanted(Some(next), 2)).await;
    assert_eq!(numbers(&rest), ["3"]);
    assert_eq!(numbers(&connection.ask(wanted(None, 2)).await), ["3"], "two are had");
    let next = &rest["extensions"]["to_device"]["next_batch"];
    let empty = connection.ask(wanted(Some(next), 2)).await;
    assert!(numbers(&empty).is_empty());
    assert_eq!(empty["extensions"]["to_device"]["next_batch"], *next);
    let waiting = connection.wait(wanted(Some(next), 2), MINUTE);
    let (woken, ()) = tokio::join!(waiting, to_device(&bob, &alice, 4));
    assert_eq!(numbers(&woken), ["4"]);
    assert!(connection.ask(json!({})).await["extensions"].get("to_device").is_none());
}

#[tokio::test]
async fn keys_are_counted_and_changes_of_devices_told() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let wanted = || json!({ "extensions": { "e2ee": { "enabled": true } } });
    let mut connection = Connection::new(&alice);
    let keys = connection.ask(wanted()).await["extensions"]["e2ee"].clone();
    assert!(keys.get("device_lists").is_none(), "a connection that begins has no changes: {keys}");
    assert!(keys["device_one_time_keys_count"].is_object());
    let body = json!({
        "device_keys": device_keys(&alice, "a"),
        "one_time_keys": one_time_keys(&["A", "B"]),
        "fallback_keys": fallback_key("F"),
    });
    upload(&alice, body).await;
    let keys = connection.ask(wanted()).await["extensions"]["e2ee"].clone();
    assert_eq!(keys["device_one_time_keys_count"]["signed_curve25519"], 2);
    assert_eq!(keys["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    claim(&bob, &alice).await.unwrap();
    // That a key is gone is worth an answer at once, as there is a new one to be made.
    let keys = connection.wait(wanted(), MINUTE).await["extensions"]["e2ee"].clone();
    assert_eq!(keys["device_one_time_keys_count"]["signed_curve25519"], 1);

    let changed = upload(&bob, json!({ "device_keys": device_keys(&bob, "b") }));
    let (answer, _) = tokio::join!(connection.wait(wanted(), MINUTE), changed);
    let lists = &answer["extensions"]["e2ee"]["device_lists"];
    assert_eq!((&lists["changed"], &lists["left"]), (&json!([bob.id]), &json!([])));
    bob.leave(&room).await.unwrap();
    let lists = connection.ask(wanted()).await["extensions"]["e2ee"]["device_lists"].clone();
    assert_eq!(lists["left"], json!([bob.id]));
}

#[tokio::test]
async fn account_data_come_whole_and_then_as_they_change() {
    let alice = support::user("alice").await;
    let (one, other) =
        (alice.create_public_room().await.unwrap(), alice.create_public_room().await.unwrap());
    let put = async |place: String, content: Value| {
        let target = path(&format!("/_matrix/client/v3/user/{{}}/{place}"), &[&alice.id]);
        alice.api.put(&target, content).await.unwrap().ok().unwrap();
    };
    let of_room = |room: &str| path("rooms/{}/account_data/org.example.room", &[room]);
    put("account_data/org.example.test".to_owned(), json!({ "n": 1 })).await;
    put(of_room(&one), json!({ "n": 1 })).await;
    put(of_room(&other), json!({ "n": 1 })).await;
    let wanted = || with(json!({ "account_data": { "enabled": true } }));
    let mut connection = Connection::new(&alice);
    let data = connection.ask(wanted()).await["extensions"]["account_data"].clone();
    let kinds = |data: &Value| -> Vec<String> {
        let events = data["global"].as_array().unwrap().iter();
        events.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    assert!(kinds(&data).contains(&"m.push_rules".to_owned()), "{data}");
    assert!(kinds(&data).contains(&"org.example.test".to_owned()), "{data}");
    assert_eq!(data["rooms"].as_object().unwrap().len(), 2);
    assert!(connection.ask(wanted()).await["extensions"].get("account_data").is_none());
    let change = put(of_room(&one), json!({ "n": 2 }));
    let (answer, ()) = tokio::join!(connection.wait(wanted(), MINUTE), change);
    let rooms = answer["extensions"]["account_data"]["rooms"].as_object().unwrap().clone();
    assert_eq!((rooms.len(), &rooms[&one][0]["content"]["n"]), (1, &json!(2)));
    assert!(answer["rooms"].as_object().unwrap().is_empty(), "nothing happened in the room");
    // Only of what is asked for.
    let none = with(json!({ "account_data": { "enabled": true, "lists": [], "rooms": [] } }));
    let data = Connection::new(&alice).ask(none).await["extensions"]["account_data"].clone();
    assert!(data["global"].is_array() && data.get("rooms").is_none(), "{data}");
}

#[tokio::test]
async fn typing_and_receipts_are_told_of_rooms_that_are_shown() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let said = alice.say(&room, "read me").await.unwrap();
    let receipt = path("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", &[&room, &said]);
    bob.api.post(&receipt, json!({})).await.unwrap().ok().unwrap();
    let wanted = || with(json!({ "typing": { "enabled": true }, "receipts": { "enabled": true } }));
    let mut connection = Connection::new(&alice);
    let first = connection.ask(wanted()).await["extensions"].clone();
    let event = &first["receipts"]["rooms"][&room];
    assert_eq!(event["type"], "m.receipt");
    assert!(event["content"][&said]["m.read"][&bob.id]["ts"].is_i64(), "{first}");
    assert!(first.get("typing").is_none());

    let typing = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &bob.id]);
    let types = bob.api.put(&typing, json!({ "typing": true, "timeout": 30_000 }));
    let (answer, typed) = tokio::join!(connection.wait(wanted(), MINUTE), types);
    typed.unwrap().ok().unwrap();
    let event = &answer["extensions"]["typing"]["rooms"][&room];
    assert_eq!(*event, json!({ "type": "m.typing", "content": { "user_ids": [bob.id] } }));
    bob.api.put(&typing, json!({ "typing": false })).await.unwrap().ok().unwrap();
    let answer = connection.ask(wanted()).await;
    let event = &answer["extensions"]["typing"]["rooms"][&room];
    assert_eq!(event["content"]["user_ids"], json!([]));

    let said = alice.say(&room, "and me").await.unwrap();
    let receipt = path("/_matrix/client/v3/rooms/{}/receipt/m.read.private/{}", &[&room, &said]);
    bob.api.post(&receipt, json!({})).await.unwrap().ok().unwrap();
    let answer = connection.ask(wanted()).await;
    assert!(answer["extensions"].get("receipts").is_none(), "that is Bob's affair: {answer}");
    let mut own = Connection::new(&bob);
    let answer = own.ask(wanted()).await;
    let event = &answer["extensions"]["receipts"]["rooms"][&room];
    assert!(event["content"][&said]["m.read.private"][&bob.id]["ts"].is_i64(), "{event}");
}

#[tokio::test]
async fn threads_that_are_followed_are_told_and_gaps_can_be_filled() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let mut roots = vec![];
    for number in 0..3 {
        roots.push(alice.say(&room, &number.to_string()).await.unwrap());
    }
    const THREADS: &str = "io.element.msc4308.thread_subscriptions";
    let wanted = || json!({ "extensions": { (THREADS): { "enabled": true, "limit": 2 } } });
    let subscription = |root: &str| {
        let template =
            "/_matrix/client/unstable/io.element.msc4306/rooms/{}/thread/{}/subscription";
        path(template, &[&room, root])
    };
    let mut connection = Connection::new(&alice);
    assert!(connection.ask(wanted()).await["extensions"].get(THREADS).is_none());
    let before = connection.pos.clone().unwrap();
    for root in &roots {
        alice.api.put(&subscription(root), json!({})).await.unwrap().ok().unwrap();
    }
    let news = connection.ask(wanted()).await["extensions"][THREADS].clone();
    let told = news["subscribed"][&room].as_object().unwrap();
    assert!(told.len() == 2 && told[&roots[2]]["automatic"] == false, "{news}");
    // The rest is between what was told and where the client was before.
    let list =
        "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?dir=b&from={}&to={}";
    let target = path(list, &[news["prev_batch"].as_str().unwrap(), &before]);
    let rest = alice.api.get(&target).await.unwrap().ok().unwrap();
    let rest = rest["subscribed"][&room].as_object().unwrap().clone();
    assert_eq!(rest.keys().collect::<Vec<_>>(), [&roots[0]]);

    let target = subscription(&roots[0]);
    let ends = alice.api.delete(&target);
    let (answer, ended) = tokio::join!(connection.wait(wanted(), MINUTE), ends);
    ended.unwrap().ok().unwrap();
    let news = &answer["extensions"][THREADS];
    assert!(news["unsubscribed"][&room][&roots[0]]["bump_stamp"].is_i64(), "{news}");
}

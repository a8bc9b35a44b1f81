//! Searches over rooms on a stage, on each database.

use ruma::{EventId, UserId};
use serde_json::{Value, json};
use starling_storage::{
    Change, Claim,
    accounts::{UserRow, flags},
    search as rows,
};

use super::{
    document::Key,
    find::{self, SearchRequest},
    index,
    token::Order,
};
use crate::{
    reading::{
        filter::EventFilter,
        stage::{ALICE, BOB, Stage, asking, message, on_stage, user},
    },
    rooms::testing::{Draft, draft},
};

fn request(term: &str) -> SearchRequest<'_> {
    SearchRequest {
        term,
        keys: &Key::ALL,
        filter: EventFilter::default(),
        order: Order::Recent,
        around: None,
        include_state: false,
        group_by: &[],
        from: None,
    }
}

async fn answer(stage: &Stage, user_id: &str, request: SearchRequest<'_>) -> Value {
    let user_id = user(user_id);
    let asking = asking(<&UserId>::from(&user_id));
    serde_json::to_value(find::search(&stage.engine, asking, request).await.unwrap()).unwrap()
}

fn ids(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap().iter();
    results.map(|result| result["result"]["event_id"].as_str().unwrap().to_owned()).collect()
}

async fn found(stage: &Stage, user_id: &str, term: &str) -> Vec<String> {
    let answer = answer(stage, user_id, request(term)).await;
    let ids = ids(&answer);
    assert_eq!(answer["count"], json!(ids.len()), "{answer}");
    ids
}

fn edit(sender: &str, of: &EventId, body: &str) -> Draft {
    let content = json!({
        "msgtype": "m.text", "body": format!("* {body}"),
        "m.new_content": { "msgtype": "m.text", "body": body },
        "m.relates_to": { "rel_type": "m.replace", "event_id": of },
    });
    Draft { state_key: None, ..draft("m.room.message", sender, "", content) }
}

fn redaction(of: &EventId) -> Draft {
    let content = json!({ "redacts": of });
    Draft { state_key: None, ..draft("m.room.redaction", ALICE, "", content) }
}

async fn postings(stage: &Stage, word: &str) -> i64 {
    let mut conn = stage.engine.storage.read().await.unwrap();
    rows::frequency(&mut conn, super::number(word), 100).await.unwrap()
}

#[tokio::test]
async fn words_are_found_a_moment_after_they_were_said() {
    on_stage(|mut stage| async move {
        let first = stage.say(ALICE, "The quick brown fox").await;
        assert_eq!(found(&stage, ALICE, "QUICK fox").await, [first.event_id.as_str()]);
        let second = stage.say(ALICE, "Füchse: fox!").await;
        let both = [second.event_id.as_str(), first.event_id.as_str()];
        assert_eq!(found(&stage, ALICE, "fox").await, both);
        assert_eq!(found(&stage, ALICE, "fuchse").await, both[..1]);
        assert_eq!(found(&stage, ALICE, "fox wolf").await, [""; 0]);
        assert_eq!(found(&stage, ALICE, "...").await, [""; 0]);
        assert_eq!(found(&stage, BOB, "fox").await, [""; 0], "he was never there");
    })
    .await;
}

#[tokio::test]
async fn what_is_redacted_is_gone_from_the_index() {
    on_stage(|mut stage| async move {
        let said = stage.say(ALICE, "a secret").await;
        assert_eq!(found(&stage, ALICE, "secret").await.len(), 1);
        assert_eq!(postings(&stage, "secret").await, 1);
        stage.send(redaction(&said.event_id)).await;
        assert_eq!(found(&stage, ALICE, "secret").await, [""; 0]);
        assert_eq!(postings(&stage, "secret").await, 0);
        // Before the index saw it.
        let said = stage.say(ALICE, "another secret").await;
        stage.send(redaction(&said.event_id)).await;
        assert_eq!(found(&stage, ALICE, "secret").await, [""; 0]);
        assert_eq!(postings(&stage, "another").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_message_is_found_by_its_newest_text() {
    on_stage(|mut stage| async move {
        let said = stage.say(ALICE, "helo world").await;
        let id = said.event_id.as_str();
        stage.send(edit(ALICE, &said.event_id, "hello wolrd")).await;
        stage.send(edit(ALICE, &said.event_id, "hello world")).await;
        assert_eq!(found(&stage, ALICE, "hello").await, [id]);
        assert_eq!(found(&stage, ALICE, "world").await, [id], "once");
        assert_eq!(found(&stage, ALICE, "helo").await, [""; 0]);
        assert_eq!(found(&stage, ALICE, "wolrd").await, [""; 0]);
        let answer = answer(&stage, ALICE, request("hello")).await;
        let bundled = &answer["results"][0]["result"]["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(bundled["content"]["m.new_content"]["body"], "hello world");
        // Of somebody else it is no edit.
        stage.member(BOB, BOB, "join").await;
        stage.send(edit(BOB, &said.event_id, "hijacked")).await;
        assert_eq!(found(&stage, ALICE, "world").await, [id]);
    })
    .await;
}

#[tokio::test]
async fn an_edit_that_is_redacted_no_longer_counts() {
    on_stage(|mut stage| async move {
        let said = stage.say(ALICE, "before").await;
        let edit = stage.send(edit(ALICE, &said.event_id, "after")).await;
        assert_eq!(found(&stage, ALICE, "before").await, [""; 0]);
        stage.send(redaction(&edit.event_id)).await;
        assert_eq!(found(&stage, ALICE, "before").await, [said.event_id.as_str()]);
        assert_eq!(found(&stage, ALICE, "after").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn only_what_may_be_seen_is_found_and_counted() {
    on_stage(|mut stage| async move {
        stage.set("m.room.history_visibility", json!({ "history_visibility": "joined" })).await;
        stage.say(ALICE, "apple before").await;
        stage.member(BOB, BOB, "join").await;
        let during = stage.say(ALICE, "apple during").await;
        stage.member(BOB, BOB, "leave").await;
        stage.say(ALICE, "apple after").await;
        assert_eq!(found(&stage, BOB, "apple").await, [during.event_id.as_str()]);
        assert_eq!(found(&stage, ALICE, "apple").await.len(), 3);
        // Whoever left hears no more, whatever the room shows to strangers.
        let world = json!({ "history_visibility": "world_readable" });
        stage.set("m.room.history_visibility", world).await;
        stage.say(ALICE, "apple open").await;
        assert_eq!(found(&stage, BOB, "apple").await, [during.event_id.as_str()]);
    })
    .await;
}

#[tokio::test]
async fn pages_are_full_of_what_may_be_seen() {
    on_stage(|mut stage| async move {
        stage.set("m.room.history_visibility", json!({ "history_visibility": "joined" })).await;
        let mut expected = vec![];
        for number in 0..4 {
            stage.member(BOB, BOB, "join").await;
            expected
                .insert(0, stage.say(ALICE, &format!("pear {number}")).await.event_id.to_string());
            stage.member(BOB, BOB, "leave").await;
            stage.say(ALICE, &format!("pear {number} unseen")).await;
        }
        let filter = EventFilter { limit: Some(3), ..EventFilter::default() };
        for order in [Order::Recent, Order::Rank] {
            let page =
                |from| SearchRequest { filter: filter.clone(), order, from, ..request("pear") };
            let first = answer(&stage, BOB, page(None)).await;
            assert_eq!((ids(&first), &first["count"]), (expected[..3].to_vec(), &json!(4)));
            let next = first["next_batch"].as_str().unwrap();
            let second = answer(&stage, BOB, page(Some(next))).await;
            assert_eq!((ids(&second), &second["count"]), (expected[3..].to_vec(), &json!(4)));
            assert_eq!(second.get("next_batch"), None);
        }
    })
    .await;
}

#[tokio::test]
async fn encrypted_rooms_are_not_searched() {
    on_stage(|mut stage| async move {
        stage.say(ALICE, "plum").await;
        assert_eq!(found(&stage, ALICE, "plum").await.len(), 1);
        stage.set("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })).await;
        assert_eq!(found(&stage, ALICE, "plum").await, [""; 0]);
        stage.say(ALICE, "cherry in clear").await;
        assert_eq!(found(&stage, ALICE, "cherry").await, [""; 0]);
        assert_eq!(postings(&stage, "cherry").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_was_there_before_the_index_is_taken_in() {
    on_stage(|mut stage| async move {
        for _ in 0..450 {
            stage.room.send(message(ALICE, "ancient"));
        }
        let mut old: Vec<_> = stage.room.events.values().cloned().collect();
        old.sort_by_key(|pdu| pdu.depth);
        let old = old.split_off(old.len() - 450);
        stage.append(&old).await;
        // As if the table had been made now.
        let mut change = Change::new();
        let head = stage.engine.storage.feed().head();
        for direction in [rows::Direction::Forward, rows::Direction::Backward] {
            change.write(rows::Write::Progress { direction, pos: head });
        }
        stage.engine.storage.commit(change).await.unwrap();
        let new = stage.say(ALICE, "recent and ancient").await;
        let first = answer(&stage, ALICE, request("ancient")).await;
        assert_eq!(ids(&first)[0], new.event_id.as_str());
        // Each search takes in a part of what is old.
        index::catch_up(&stage.engine).await.unwrap();
        assert_eq!(answer(&stage, ALICE, request("ancient")).await["count"], json!(451));
        assert_eq!(postings(&stage, "recent").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_an_erased_user_said_is_found_by_those_who_were_there() {
    on_stage(|mut stage| async move {
        let said = stage.say(ALICE, "a secret").await;
        stage.member(BOB, BOB, "join").await;
        let later = stage.say(ALICE, "another secret").await;
        let both = [later.event_id.as_str(), said.event_id.as_str()];
        assert_eq!(found(&stage, BOB, "secret").await, both);
        let mut change = Change::new();
        change.claim(Claim::NewUser(UserRow {
            user_id: ALICE.to_owned(),
            flags: flags::ERASED,
            ..UserRow::default()
        }));
        stage.engine.storage.commit(change).await.unwrap();
        assert_eq!(found(&stage, BOB, "secret").await, both[..1]);
        assert_eq!(found(&stage, ALICE, "secret").await, both);
    })
    .await;
}

//! What readers are told beside events, on both databases.

use ruma::{EventId, api::Direction};
use serde_json::{Value, json};
use starling_storage::{Change, account_data::Write};

use crate::{
    reading::{
        context,
        filter::{EventFilter, Filter},
        messages::{self, PageRequest},
        stage::{ALICE, BOB, Stage, after, asking, on_stage, user},
        threads::{self, ThreadsRequest},
        token::PageToken,
    },
    rooms::testing::{Draft, draft},
    sync::Request,
};

fn related(sender: &str, rel_type: &str, to: &EventId, more: Value) -> Draft {
    let relation = json!({ "rel_type": rel_type, "event_id": to });
    let mut content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
    for (key, value) in more.as_object().unwrap() {
        content[key] = value.clone();
    }
    Draft { state_key: None, ..draft("m.room.message", sender, "", content) }
}

fn edit(sender: &str, of: &EventId) -> Draft {
    related(sender, "m.replace", of, json!({ "m.new_content": { "body": "y" } }))
}

fn thread(sender: &str, root: &EventId) -> Draft {
    related(sender, "m.thread", root, json!({}))
}

/// What is bundled with an event that somebody reads.
async fn bundle(stage: &Stage, who: &str, id: &EventId) -> Value {
    let room_id = &stage.room.room_id;
    let event = context::event(&stage.engine, asking(&user(who)), room_id, id).await.unwrap();
    let event: Value = serde_json::from_str(event.get()).unwrap();
    event["unsigned"]["m.relations"].clone()
}

async fn ignore(stage: &Stage, who: &str, whom: &str) {
    let content = json!({ "ignored_users": { (whom): {} } });
    let mut change = Change::new();
    let at = change.fact(starling_storage::Fact::AccountData {
        user_id: who.to_owned(),
        room_id: String::new(),
        kind: "m.ignored_user_list".to_owned(),
    });
    change.write(Write::Put {
        user_id: who.to_owned(),
        room_id: String::new(),
        kind: "m.ignored_user_list".to_owned(),
        content: content.to_string(),
        at,
    });
    stage.engine.storage.commit(change).await.unwrap();
}

#[tokio::test]
async fn the_newest_sound_replacement_is_bundled() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let original = stage.say(ALICE, "original").await.event_id.clone();
        assert_eq!(bundle(&stage, ALICE, &original).await, Value::Null);
        let first = stage.send(edit(ALICE, &original)).await.event_id.clone();
        let second = stage.send(edit(ALICE, &original)).await.event_id.clone();
        stage.send(edit(BOB, &original)).await;
        stage.send(related(ALICE, "m.replace", &original, json!({}))).await;
        let odd = json!({ "m.new_content": "text" });
        stage.send(related(ALICE, "m.replace", &original, odd)).await;
        let other = Draft { kind: "m.sticker".into(), ..edit(ALICE, &original) };
        stage.send(other).await;
        let replace = &bundle(&stage, ALICE, &original).await["m.replace"];
        assert_eq!(replace["event_id"], second.as_str());
        assert_eq!(replace["content"]["m.new_content"]["body"], "y");
        // A replacement is not replaced.
        stage.send(edit(ALICE, &first)).await;
        assert_eq!(bundle(&stage, ALICE, &first).await, Value::Null);
    })
    .await;
}

#[tokio::test]
async fn what_is_bundled_is_found_among_hundreds_of_reactions() {
    on_stage(async |mut stage| {
        let original = stage.say(ALICE, "original").await.event_id.clone();
        let reaction = Draft {
            kind: "m.reaction".into(),
            ..related(ALICE, "m.annotation", &original, json!({}))
        };
        let reactions: Vec<_> = (0..250).map(|_| stage.room.send(reaction.clone())).collect();
        stage.append(&reactions).await;
        assert_eq!(bundle(&stage, ALICE, &original).await, Value::Null);
        let edit = stage.send(edit(ALICE, &original)).await.event_id.clone();
        stage.send(thread(ALICE, &original)).await;
        stage.send(related(ALICE, "m.reference", &original, json!({}))).await;
        let bundle = bundle(&stage, ALICE, &original).await;
        assert_eq!(bundle["m.replace"]["event_id"], edit.as_str());
        assert_eq!(bundle["m.thread"]["count"], 1);
        assert_eq!(bundle["m.reference"]["chunk"].as_array().unwrap().len(), 1);
    })
    .await;
}

/// More of them than one statement asks about.
#[tokio::test]
async fn each_event_of_a_page_has_what_is_bundled_with_it_alone() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let mut parents = vec![];
        for number in 0..21 {
            let parent = stage.say(ALICE, "parent").await.event_id.clone();
            for child in [BOB, ALICE].into_iter().cycle().take(number % 3) {
                stage.send(thread(child, &parent)).await;
                stage.send(edit(ALICE, &parent)).await;
                stage.send(related(child, "m.reference", &parent, json!({}))).await;
            }
            parents.push(parent);
        }
        let room_id = stage.room.room_id.clone();
        let filter = EventFilter {
            types: Some(vec!["m.room.message".to_owned()]),
            ..EventFilter::default()
        };
        let request = PageRequest {
            direction: Direction::Backward,
            from: None,
            to: None,
            limit: Some(100),
            filter,
        };
        let bob = user(BOB);
        let page = messages::page(&stage.engine, asking(&bob), &room_id, request);
        let page = serde_json::to_value(page.await.unwrap().chunk).unwrap();
        for (number, parent) in parents.iter().enumerate() {
            let mut events = page.as_array().unwrap().iter();
            let event = events.find(|event| event["event_id"] == parent.as_str()).unwrap();
            let (bundled, alone) =
                (&event["unsigned"]["m.relations"], bundle(&stage, BOB, parent).await);
            for name in [
                "/m.replace/event_id",
                "/m.thread/latest_event/event_id",
                "/m.thread/current_user_participated",
                "/m.reference",
            ] {
                assert_eq!(bundled.pointer(name), alone.pointer(name), "{number} {name}");
            }
            let count = (number % 3 > 0).then_some(number % 3);
            assert_eq!(bundled["m.thread"]["count"], json!(count), "{number}");
            assert_eq!(bundled["m.replace"].is_object(), count.is_some(), "{number}");
            assert_eq!(bundled["m.reference"].is_object(), count.is_some(), "{number}");
        }
    })
    .await;
}

#[tokio::test]
async fn threads_are_summed_up_for_each_reader() {
    on_stage(async |mut stage| {
        for who in [BOB, "@carol:a.org"] {
            stage.member(who, who, "join").await;
        }
        let root = stage.say(ALICE, "root").await.event_id.clone();
        let first = stage.send(thread(BOB, &root)).await.event_id.clone();
        let edited = stage.send(edit(BOB, &first)).await.event_id.clone();
        let of = |bundle: &Value| {
            let thread = &bundle["m.thread"];
            let latest = thread["latest_event"].clone();
            (latest, thread["count"].clone(), thread["current_user_participated"].clone())
        };
        for (who, participated) in [(ALICE, true), (BOB, true), ("@carol:a.org", false)] {
            let (latest, count, own) = of(&bundle(&stage, who, &root).await);
            assert_eq!((count, own), (json!(1), json!(participated)), "{who}");
            assert_eq!(latest["event_id"], first.as_str());
            let replace = &latest["unsigned"]["m.relations"]["m.replace"];
            assert_eq!(replace["event_id"], edited.as_str());
        }
        let second = stage.send(thread("@carol:a.org", &root)).await.event_id.clone();
        let (latest, count, own) = of(&bundle(&stage, "@carol:a.org", &root).await);
        assert_eq!((&latest["event_id"], count, own), (&json!(second), json!(2), json!(true)));
        ignore(&stage, ALICE, "@carol:a.org").await;
        let (latest, count, _) = of(&bundle(&stage, ALICE, &root).await);
        assert_eq!((&latest["event_id"], count), (&json!(first), json!(1)));
        // An event in a thread begins no other.
        stage.send(thread(BOB, &first)).await;
        let inner = bundle(&stage, ALICE, &first).await;
        assert_eq!(inner.get("m.thread"), None);
    })
    .await;
}

#[tokio::test]
async fn references_are_listed_and_who_has_left_learns_no_more() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let parent = stage.say(ALICE, "parent").await.event_id.clone();
        let reference = || related(ALICE, "m.reference", &parent, json!({}));
        let seen = stage.send(reference()).await.event_id.clone();
        stage.member(BOB, BOB, "leave").await;
        let later = stage.send(reference()).await.event_id.clone();
        let chunk = |ids: &[&EventId]| {
            let chunk: Vec<_> = ids.iter().map(|id| json!({ "event_id": id })).collect();
            json!({ "m.reference": { "chunk": chunk } })
        };
        assert_eq!(bundle(&stage, ALICE, &parent).await, chunk(&[&seen, &later]));
        assert_eq!(bundle(&stage, BOB, &parent).await, chunk(&[&seen]));
    })
    .await;
}

#[tokio::test]
async fn pages_bundle_and_sync_does_where_it_left_events_out() {
    on_stage(async |mut stage| {
        let parent = stage.say(ALICE, "parent").await.event_id.clone();
        let child = stage.send(thread(ALICE, &parent)).await.event_id.clone();
        let has_bundle = |events: &Value| {
            let events = events.as_array().unwrap();
            let event = events.iter().find(|event| event["event_id"] == parent.as_str()).unwrap();
            event["unsigned"]["m.relations"]["m.thread"]["latest_event"]["event_id"]
                == child.as_str()
        };
        let room_id = stage.room.room_id.clone();
        let request = PageRequest {
            direction: Direction::Backward,
            from: None,
            to: None,
            limit: None,
            filter: EventFilter::default(),
        };
        let alice = user(ALICE);
        let page = messages::page(&stage.engine, asking(&alice), &room_id, request);
        assert!(has_bundle(&serde_json::to_value(page.await.unwrap().chunk).unwrap()));
        let filter = EventFilter::default();
        let around =
            context::context(&stage.engine, asking(&alice), &room_id, &child, None, &filter);
        assert!(has_bundle(&serde_json::to_value(around.await.unwrap().events_before).unwrap()));

        let timeline =
            |answer: &Value| answer["rooms"]["join"][room_id.as_str()]["timeline"].clone();
        let filter = Filter::parse(r#"{"room":{"timeline":{"limit":2}}}"#).unwrap();
        let limited = Request { filter: filter.into(), ..Request::default() };
        let limited = timeline(&stage.sync(ALICE, limited).await);
        assert_eq!(limited["limited"], true);
        assert!(has_bundle(&limited["events"]));
        let before = stage.sync(ALICE, Request::default()).await;
        let more = stage.say(ALICE, "more").await.event_id.clone();
        stage.send(thread(ALICE, &more)).await;
        let news = timeline(&stage.sync(ALICE, after(&before)).await);
        assert_eq!(news["limited"], false);
        assert_eq!(news["events"][0]["unsigned"].get("m.relations"), None);
    })
    .await;
}

#[tokio::test]
async fn threads_are_listed_by_their_newest_events() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let mut roots = vec![];
        for sender in [ALICE, BOB, BOB, BOB] {
            roots.push(stage.say(sender, "root").await.event_id.clone());
        }
        for root in [3, 0, 1, 2] {
            stage.send(thread(BOB, &roots[root])).await;
        }
        let inner = stage.send(thread(ALICE, &roots[3])).await.event_id.clone();
        stage.send(thread(BOB, &inner)).await;
        let room_id = stage.room.room_id.clone();
        let listed = async |participated| {
            let (mut found, mut from) = (vec![], None);
            loop {
                let request = ThreadsRequest { participated, from, limit: Some(1) };
                let alice = user(ALICE);
                let page = threads::page(&stage.engine, asking(&alice), &room_id, request);
                let page = page.await.unwrap();
                let chunk: Vec<Value> = page
                    .chunk
                    .iter()
                    .map(|root| serde_json::from_str(root.get()).unwrap())
                    .collect();
                for root in chunk {
                    assert!(root["unsigned"]["m.relations"]["m.thread"].is_object());
                    found.push(root["event_id"].as_str().unwrap().to_owned());
                }
                let Some(next) = page.next_batch else { return found };
                from = Some(PageToken::parse(&next).unwrap());
            }
        };
        let of = |order: &[usize]| -> Vec<String> {
            order.iter().map(|&index| roots[index].to_string()).collect()
        };
        assert_eq!(listed(false).await, of(&[3, 2, 1, 0]));
        assert_eq!(listed(true).await, of(&[3, 0]));
    })
    .await;
}

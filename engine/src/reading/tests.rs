//! Reading a room on a stage: pages, context, single events, and who may see them.

use ruma::{EventId, api::Direction};
use serde_json::{Value, json, value::RawValue};
use starling_storage::{Change, memberships};

use super::{
    access::ReadError,
    context,
    filter::EventFilter,
    messages::{self, Page, PageRequest},
    stage::{ALICE, BOB, Stage, asking, ids, on_stage, user},
    state::{self, WantedMembers},
    token::PageToken,
};

fn request(direction: Direction) -> PageRequest {
    PageRequest { direction, from: None, to: None, limit: None, filter: EventFilter::default() }
}

async fn page(stage: &Stage, who: &str, request: PageRequest) -> Result<Page, ReadError> {
    messages::page(&stage.engine, asking(&user(who)), &stage.room.room_id, request).await
}

/// All events in pages of `limit`, until there is no end.
async fn pages(stage: &Stage, who: &str, mut request: PageRequest, limit: u64) -> Vec<String> {
    request.limit = Some(limit);
    let mut found = vec![];
    loop {
        let page = page(stage, who, request.clone()).await.unwrap();
        found.extend(ids(&serde_json::to_value(&page.chunk).unwrap()));
        let Some(end) = page.end else { return found };
        assert_ne!(end, page.start);
        request.from = Some(PageToken::parse(&end).unwrap());
    }
}

async fn event(stage: &Stage, who: &str, id: &EventId) -> Option<Value> {
    let room_id = &stage.room.room_id;
    match context::event(&stage.engine, asking(&user(who)), room_id, id).await {
        Ok(event) => Some(serde_json::to_value(event).unwrap()),
        Err(ReadError::NoSuchEvent) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn pages_end_at_the_start_of_the_room_and_at_its_end() {
    on_stage(async |mut stage| {
        for number in 0..7 {
            stage.say(ALICE, &number.to_string()).await;
        }
        let mut all: Vec<_> = stage.room.events.values().collect();
        all.sort_by_key(|pdu| pdu.depth);
        let mut all: Vec<String> = all.iter().map(|pdu| pdu.event_id.to_string()).collect();
        for limit in [1, 3, 10, 1000] {
            assert_eq!(pages(&stage, ALICE, request(Direction::Forward), limit).await, all);
        }
        all.reverse();
        for limit in [1, 3, 10, 1000, u64::MAX] {
            assert_eq!(pages(&stage, ALICE, request(Direction::Backward), limit).await, all);
        }
        let none = EventFilter::parse(r#"{"types": ["x"]}"#).unwrap();
        let request = PageRequest { filter: none, ..request(Direction::Backward) };
        assert!(pages(&stage, ALICE, request, 2).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_token_of_sync_begins_pages_both_ways() {
    on_stage(async |mut stage| {
        let before = stage.say(ALICE, "before").await;
        let synced = stage.sync(ALICE, crate::sync::Request::default()).await;
        let token = PageToken::parse(synced["next_batch"].as_str().unwrap()).unwrap();
        let after = stage.say(ALICE, "after").await;
        let at = |direction| PageRequest { from: Some(token), ..request(direction) };
        let back = pages(&stage, ALICE, at(Direction::Backward), 2).await;
        assert_eq!(back.first().map(String::as_str), Some(before.event_id.as_str()));
        let forth = pages(&stage, ALICE, at(Direction::Forward), 2).await;
        assert_eq!(forth, [after.event_id.as_str()]);
        let until = PageRequest { to: Some(token), ..request(Direction::Backward) };
        assert_eq!(pages(&stage, ALICE, until, 5).await, [after.event_id.as_str()]);
    })
    .await;
}

#[tokio::test]
async fn history_is_seen_as_its_visibility_was() {
    on_stage(async |mut stage| {
        let visibility = |value: &str| json!({ "history_visibility": value });
        let kind = "m.room.history_visibility";
        let shared = stage.say(ALICE, "shared by default").await;
        stage.set(kind, visibility("joined")).await;
        let closed = stage.say(ALICE, "for members").await;
        stage.set(kind, visibility("invited")).await;
        let uninvited = stage.say(ALICE, "before the invite").await;
        stage.member(ALICE, BOB, "invite").await;
        let invited = stage.say(ALICE, "after the invite").await;
        stage.set(kind, visibility("world_readable")).await;
        let open = stage.say(ALICE, "for the world").await;
        stage.set(kind, visibility("shared")).await;
        let waiting = stage.say(ALICE, "shared again").await;

        let stranger = "@stranger:a.org";
        assert!(event(&stage, stranger, &open.event_id).await.is_some());
        assert!(event(&stage, stranger, &shared.event_id).await.is_none());
        assert!(event(&stage, BOB, &invited.event_id).await.is_some());
        assert!(event(&stage, BOB, &waiting.event_id).await.is_none(), "not joined yet");
        let refused = page(&stage, BOB, request(Direction::Backward)).await;
        assert!(matches!(refused, Err(ReadError::Forbidden)));

        stage.member(BOB, BOB, "join").await;
        for (pdu, seen) in [
            (&shared, true),
            (&closed, false),
            (&uninvited, false),
            (&invited, true),
            (&open, true),
            (&waiting, true),
        ] {
            let found = event(&stage, BOB, &pdu.event_id).await.is_some();
            assert_eq!(found, seen, "{}", pdu.content);
            let pages = pages(&stage, BOB, request(Direction::Backward), 3).await;
            assert_eq!(pages.contains(&pdu.event_id.to_string()), seen, "{}", pdu.content);
        }
    })
    .await;
}

#[tokio::test]
async fn who_has_left_reads_up_to_the_leave() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let heard = stage.say(ALICE, "you may hear this").await;
        let leave = stage.member(ALICE, BOB, "ban").await;
        let unheard = stage.say(ALICE, "and not this").await;
        let found = pages(&stage, BOB, request(Direction::Backward), 2).await;
        assert_eq!(found.first().map(String::as_str), Some(leave.event_id.as_str()));
        assert_eq!(found.get(1).map(String::as_str), Some(heard.event_id.as_str()));
        let forth = pages(&stage, BOB, request(Direction::Forward), 2).await;
        assert!(!forth.contains(&unheard.event_id.to_string()));
        assert!(event(&stage, BOB, &unheard.event_id).await.is_none());

        let mut change = Change::new();
        let (user_id, room_id) = (BOB.to_owned(), stage.room.room_id.to_string());
        change.write(memberships::Write::Forget { user_id, room_id });
        stage.engine.storage.commit(change).await.unwrap();
        let refused = page(&stage, BOB, request(Direction::Backward)).await;
        assert!(matches!(refused, Err(ReadError::Forbidden)));
        assert!(event(&stage, BOB, &heard.event_id).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_context_continues_in_pages_without_a_gap() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        for number in 0..6 {
            stage.say(if number % 2 == 0 { ALICE } else { BOB }, &number.to_string()).await;
        }
        let mut all: Vec<_> = stage.room.events.values().collect();
        all.sort_by_key(|pdu| pdu.depth);
        let all: Vec<String> = all.iter().map(|pdu| pdu.event_id.to_string()).collect();
        let middle: &EventId = all[7].as_str().try_into().unwrap();
        let filter = EventFilter::parse(r#"{"lazy_load_members": true}"#).unwrap();
        let alice = user(ALICE);
        let asking = asking(&alice);
        for limit in [0, 1, 2, 5] {
            let room_id = &stage.room.room_id;
            let around =
                context::context(&stage.engine, asking, room_id, middle, Some(limit), &filter);
            let around = serde_json::to_value(around.await.unwrap()).unwrap();
            let (before, after) = (ids(&around["events_before"]), ids(&around["events_after"]));
            assert!(before.len() + after.len() <= usize::try_from(limit).unwrap());
            let from = |field: &str| PageToken::parse(around[field].as_str().unwrap()).ok();
            let back = PageRequest { from: from("start"), ..request(Direction::Backward) };
            let forth = PageRequest { from: from("end"), ..request(Direction::Forward) };
            let mut found = pages(&stage, ALICE, back, 2).await;
            found.reverse();
            found.extend(before.into_iter().rev());
            found.push(around["event"]["event_id"].as_str().unwrap().to_owned());
            found.extend(after);
            found.extend(pages(&stage, ALICE, forth, 2).await);
            assert_eq!(found, all, "limit {limit}");
            assert!(around["event"]["room_id"].is_string());
        }
        let unknown: &EventId = "$unknown".try_into().unwrap();
        assert!(event(&stage, ALICE, unknown).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn what_was_redacted_says_why() {
    on_stage(async |mut stage| {
        let said = stage.say(ALICE, "a mistake").await;
        let content = json!({ "redacts": said.event_id, "reason": "wrong" });
        let draft = crate::rooms::testing::draft("m.room.redaction", ALICE, "", content);
        let redaction = stage.send(crate::rooms::testing::Draft { state_key: None, ..draft }).await;
        let shown = event(&stage, ALICE, &said.event_id).await.unwrap();
        assert_eq!(shown["content"], json!({}));
        let because = &shown["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction.event_id.as_str());
        assert!(because.get("hashes").is_none());
    })
    .await;
}

async fn members(
    stage: &Stage,
    who: &str,
    at: i64,
    membership: [Option<&str>; 2],
) -> Result<Vec<(String, String)>, ReadError> {
    let [membership, not_membership] = membership.map(|it| it.map(Into::into));
    let wanted = WantedMembers { at, membership, not_membership };
    let who = user(who);
    let found = state::members(&stage.engine, asking(&who), &stage.room.room_id, &wanted).await?;
    let member = |event: &RawValue| {
        let event: Value = serde_json::from_str(event.get()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&event["state_key"]), text(&event["content"]["membership"]))
    };
    let mut found: Vec<_> = found.iter().map(|event| member(event)).collect();
    found.sort();
    Ok(found)
}

fn at(token: &Value) -> i64 {
    PageToken::parse(token.as_str().unwrap()).unwrap().pos()
}

#[tokio::test]
async fn members_are_those_at_a_token() {
    on_stage(async |mut stage| {
        let all = [None, None];
        let one = |id: &str, membership: &str| (id.to_owned(), membership.to_owned());
        let first = stage.sync(ALICE, crate::sync::Request::default()).await;
        stage.member(BOB, BOB, "join").await;
        stage.say(BOB, "hello").await;
        let room = &first["rooms"]["join"][stage.room.room_id.as_str()];
        let alone = [one(ALICE, "join")];
        // Before the whole timeline of the room, where its state is its beginning.
        let before = at(&room["timeline"]["prev_batch"]);
        assert_eq!(members(&stage, ALICE, before, all).await.unwrap(), alone);
        assert_eq!(members(&stage, ALICE, -7, all).await.unwrap(), alone);
        assert_eq!(members(&stage, ALICE, at(&first["next_batch"]), all).await.unwrap(), alone);
        let page =
            page(&stage, ALICE, PageRequest { limit: Some(1), ..request(Direction::Backward) });
        let end = PageToken::parse(&page.await.unwrap().end.unwrap()).unwrap().pos();
        let both = [one(ALICE, "join"), one(BOB, "join")];
        assert_eq!(members(&stage, ALICE, end, all).await.unwrap(), both);
        stage.member(BOB, BOB, "leave").await;
        let now = i64::MAX;
        let bob = [one(BOB, "leave")];
        let either = [Some("leave"), Some("join")];
        assert_eq!(members(&stage, ALICE, now, [Some("leave"), None]).await.unwrap(), bob);
        assert_eq!(members(&stage, ALICE, now, [None, Some("join")]).await.unwrap(), bob);
        assert_eq!(members(&stage, ALICE, now, either).await.unwrap(), bob);
        let either = [Some("join"), Some("join")];
        assert_eq!(members(&stage, ALICE, now, either).await.unwrap().len(), 2);
        // Who has left sees the room as it was then.
        stage.member("@carol:a.org", "@carol:a.org", "join").await;
        assert_eq!(members(&stage, BOB, now, all).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn members_from_before_the_history_is_open_are_not_told() {
    on_stage(async |mut stage| {
        let kind = "m.room.history_visibility";
        stage.set(kind, json!({ "history_visibility": "joined" })).await;
        let then = stage.sync(ALICE, crate::sync::Request::default()).await;
        let then = at(&then["next_batch"]);
        stage.member(BOB, BOB, "join").await;
        assert_eq!(members(&stage, ALICE, then, [None, None]).await.unwrap().len(), 1);
        let refused = members(&stage, BOB, then, [None, None]).await;
        assert!(matches!(refused, Err(ReadError::Forbidden)), "{refused:?}");
        assert_eq!(members(&stage, BOB, i64::MAX, [None, None]).await.unwrap().len(), 2);
    })
    .await;
}

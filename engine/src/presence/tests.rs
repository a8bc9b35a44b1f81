//! Presence, over a room on a stage.

use ruma::{device_id, server_name};
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{
    reading::stage::{ALICE, BOB, Stage, after, on_stage, user},
    sync::Request,
};

const MALLORY: &str = "@mallory:b.org";

/// The presence of users in an answer of /sync, as `(sender, presence)`.
fn news(answer: &Value) -> Vec<(String, String)> {
    let events = answer["presence"]["events"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut news: Vec<_> = events
        .iter()
        .map(|event| (text(&event["sender"]), text(&event["content"]["presence"])))
        .collect();
    news.sort();
    news
}

fn pair(user: &str, status: &str) -> (String, String) {
    (user.to_owned(), status.to_owned())
}

async fn receive(stage: &Stage, push: Value) {
    let content = to_raw_value(&json!({ "push": push })).unwrap();
    super::receive(&stage.engine, server_name!("b.org"), &content).await.unwrap();
}

#[tokio::test]
async fn those_who_share_a_room_are_told_of_changes() {
    on_stage(async |mut stage| {
        let (alice, bob) = (user(ALICE), user(BOB));
        let first = stage.sync(ALICE, Request::default()).await;
        let connected =
            connect(&stage.engine, &bob, device_id!("B"), Status::Online).await.unwrap();
        let answer = stage.sync(ALICE, after(&first)).await;
        assert!(news(&answer).is_empty(), "they share no room");
        assert!(matches!(get(&stage.engine, &alice, &bob).await, Err(GetError::NotShared)));
        stage.member(BOB, BOB, "join").await;
        stage.engine.presence.repeat(&bob);
        let joined = stage.sync(ALICE, after(&answer)).await;
        assert_eq!(news(&joined), [pair(BOB, "online")]);
        let answer = stage.sync(ALICE, after(&joined)).await;
        assert!(news(&answer).is_empty(), "it is told once");
        let message = Some("asleep".to_owned());
        set(&stage.engine, &bob, device_id!("B"), Status::Unavailable, message).await.unwrap();
        let answer = stage.sync(ALICE, after(&answer)).await;
        assert_eq!(news(&answer), [pair(BOB, "unavailable")]);
        assert_eq!(answer["presence"]["events"][0]["content"]["status_msg"], "asleep");
        let answer = stage.sync(BOB, Request::default()).await;
        assert_eq!(news(&answer), [pair(BOB, "unavailable")], "also oneself");
        drop(connected);
    })
    .await;
}

#[tokio::test]
async fn other_servers_speak_for_their_members_only() {
    on_stage(async |mut stage| {
        let push = json!([{ "user_id": MALLORY, "presence": "online", "last_active_ago": 5 }]);
        receive(&stage, push.clone()).await;
        assert!(stage.engine.presence.get(&user(MALLORY)).is_none(), "who is in no room here");
        stage.member(MALLORY, MALLORY, "join").await;
        let (alice, mallory) = (user(ALICE), user(MALLORY));
        assert!(matches!(get(&stage.engine, &alice, &mallory).await, Err(GetError::Unknown)));
        let first = stage.sync(ALICE, Request::default()).await;
        receive(&stage, push).await;
        receive(
            &stage,
            json!([
                { "user_id": ALICE, "presence": "offline", "last_active_ago": 0 },
                { "user_id": MALLORY, "presence": "busy" },
                { "user_id": MALLORY },
                5,
            ]),
        )
        .await;
        let answer = stage.sync(ALICE, after(&first)).await;
        assert_eq!(news(&answer), [pair(MALLORY, "online")]);
        assert_eq!(get(&stage.engine, &alice, &mallory).await.unwrap().status, Status::Online);
    })
    .await;
}

//! What is told beside rooms, and waiting for it.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::{after, ask, bodies, config, listed, set_data};
use crate::{
    reading::stage::{ALICE, BOB, asking, message, on_stage, user},
    rooms::{
        receipts::{self, Kind, Receipt},
        typing,
    },
    sync::sliding::{
        self, Answer, Request,
        request::{Extensions, Scope},
    },
};

#[tokio::test]
async fn a_long_poll_wakes_for_what_concerns_it() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let (engine, room_id) = (stage.engine.clone(), stage.room.room_id.clone());
        let (bob, alice) = (user(BOB), user(ALICE));
        let request = || {
            let scope = Some(Scope::default());
            let extensions = Extensions {
                receipts: scope.clone(),
                typing: scope.clone(),
                account_data: scope,
                ..Extensions::default()
            };
            Request { extensions, ..listed(config(5, &[], false)) }
        };
        let answer = ask(&stage, ALICE, request()).await;
        let waiting = |answer: &Answer| Request {
            timeout: Duration::from_secs(60),
            ..after(answer, request())
        };
        let poll = async |request: Request| {
            sliding::sync(&engine, asking(&alice), &request).await.unwrap()
        };
        let first = waiting(&answer);
        assert!(Box::pin(poll(first.clone())).now_or_never().is_none(), "there is nothing yet");

        let time = Some(Duration::from_secs(30));
        let (answer, _) = tokio::join!(poll(first), async {
            typing::set(&engine, &room_id, &bob, time).await.unwrap()
        });
        let event = &answer.extensions.typing.as_ref().unwrap()[room_id.as_str()];
        assert!(event.get().contains(BOB) && answer.rooms.is_empty());

        let last = stage.room.last.event_id.clone();
        let receipt = Receipt { kind: Kind::Read, event_id: last.clone(), thread_id: None };
        let (answer, _) = tokio::join!(poll(waiting(&answer)), async {
            receipts::send(&engine, &room_id, &bob, &[receipt]).await.unwrap()
        });
        let event = &answer.extensions.receipts.as_ref().unwrap()[room_id.as_str()];
        assert!(event.get().contains(last.as_str()) && answer.rooms.is_empty());

        let (answer, _) = tokio::join!(poll(waiting(&answer)), stage.say(BOB, "hi"));
        let room = answer.rooms[room_id.as_str()].inside.as_ref().unwrap();
        assert_eq!((bodies(room), room.notification_count), (vec!["hi".to_owned()], 1));

        let (answer, ()) = tokio::join!(
            poll(waiting(&answer)),
            set_data(&stage, ALICE, room_id.as_str(), "m.tag", json!({ "tags": {} }))
        );
        let data = &answer.extensions.account_data.as_ref().unwrap().rooms[room_id.as_str()];
        assert_eq!(data.len(), 1);
        let (answer, ()) = tokio::join!(poll(waiting(&answer)), async { engine.shutdown.cancel() });
        assert!(answer.is_empty());
    })
    .await;
}

#[tokio::test]
async fn extensions_have_a_memory_of_their_own() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let room_id = stage.room.room_id.to_string();
        let said = stage.send(message(ALICE, "read me")).await;
        let receipt =
            Receipt { kind: Kind::Read, event_id: said.event_id.clone(), thread_id: None };
        receipts::send(&stage.engine, &stage.room.room_id, &user(BOB), &[receipt]).await.unwrap();
        set_data(&stage, ALICE, &room_id, "m.tag", json!({ "tags": {} })).await;
        set_data(&stage, ALICE, "", "x.y", json!({ "a": 1 })).await;
        let with = |on: bool| {
            let scope = on.then(Scope::default);
            let extensions = Extensions {
                receipts: scope.clone(),
                account_data: scope,
                ..Extensions::default()
            };
            Request { extensions, ..listed(config(5, &[], false)) }
        };
        let told = |answer: &Answer| {
            let data = answer.extensions.account_data.as_ref().unwrap();
            let receipts = answer.extensions.receipts.as_ref().unwrap();
            (data.global.len(), data.rooms.len(), receipts.len())
        };
        let whole = ask(&stage, ALICE, with(true)).await;
        assert_eq!(told(&whole), (2, 1, 1), "push rules are there too");
        let quiet = ask(&stage, ALICE, after(&whole, with(true))).await;
        assert_eq!(told(&quiet), (0, 0, 0));
        // What happens while they are off is told when they are on again.
        let off = ask(&stage, ALICE, after(&quiet, with(false))).await;
        set_data(&stage, ALICE, &room_id, "m.tag", json!({ "tags": { "u.x": {} } })).await;
        set_data(&stage, ALICE, "", "x.y", json!({ "a": 2 })).await;
        let receipt =
            Receipt { kind: Kind::Read, event_id: said.event_id.clone(), thread_id: None };
        receipts::send(&stage.engine, &stage.room.room_id, &user(ALICE), &[receipt]).await.unwrap();
        let off = ask(&stage, ALICE, after(&off, with(false))).await;
        let on = ask(&stage, ALICE, after(&off, with(true))).await;
        assert_eq!(told(&on), (2, 1, 1));
        assert_eq!(told(&ask(&stage, ALICE, after(&on, with(true))).await), (0, 0, 0));
        // One that is turned on late begins from the beginning.
        let late = ask(&stage, ALICE, with(false)).await;
        let late = ask(&stage, ALICE, after(&late, with(true))).await;
        assert_eq!(told(&late), (2, 1, 1));
    })
    .await;
}

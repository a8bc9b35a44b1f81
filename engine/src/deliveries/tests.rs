//! Tests of what application services are told, on both databases.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, server_name, user_id};
use serde_json::{Map, Value, json};

use super::courier::{Courier, End};
use crate::{
    Config, Engine,
    appservices::{ApplicationService, ApplicationServices, Claimed, Registration},
    rooms::{
        create::{Preset, create},
        membership::{
            content::Member,
            invite::{self, Invite},
            join::{self, Join},
            leave,
        },
        naming::{self, By},
        receipts::{self, Kind, Receipt},
        send, typing,
    },
    test_support::{text, wanted_room},
    testing::{TestEngine, config, on_each_database_with},
};

fn alice() -> &'static UserId {
    user_id!("@alice:test")
}

fn ghost() -> &'static UserId {
    user_id!("@irc_a:test")
}

fn settings() -> Config {
    let claimed = |regex: &str| vec![Claimed { regex: regex.to_owned(), exclusive: true }];
    let registration = Registration {
        id: "irc".to_owned(),
        url: Some("http://bridge.test".to_owned()),
        as_token: "as".to_owned(),
        hs_token: "hs".to_owned(),
        sender_localpart: "ircbot".to_owned(),
        receive_ephemeral: true,
        users: claimed("@irc_"),
        aliases: claimed("#irc_"),
        ..Registration::default()
    };
    let service = ApplicationService::new(registration, server_name!("test")).unwrap();
    let appservices = ApplicationServices::new(vec![service]).unwrap();
    Config { appservices, ..config(server_name!("test")) }
}

fn service(engine: &Engine) -> Arc<ApplicationService> {
    engine.config.appservices.by_token("as").unwrap().clone()
}

async fn courier(engine: &Engine) -> Courier {
    let service = service(engine);
    Courier::of_all(engine, std::iter::once(&service)).await.unwrap().pop().unwrap()
}

/// The transactions that came in, as ID and body.
fn transactions(test: &TestEngine) -> Vec<(String, Value)> {
    let of = |request: http::Request<bytes::Bytes>| {
        let id = request.uri().path().strip_prefix("/_matrix/app/v1/transactions/")?.to_owned();
        assert_eq!(request.headers()["authorization"], "Bearer hs");
        Some((id, serde_json::from_slice(request.body()).unwrap()))
    };
    test.world.asked().into_iter().filter_map(of).collect()
}

/// What the messages and the memberships in them say, in order.
fn said(transactions: &[(String, Value)]) -> Vec<String> {
    let events = transactions.iter().flat_map(|(_, body)| body["events"].as_array().unwrap());
    let said = events.filter_map(|event| {
        let content = &event["content"];
        content.get("body").or_else(|| content.get("membership"))
    });
    said.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Everything there is, told by somebody who takes it.
async fn told(test: &TestEngine, courier: &mut Courier) -> Vec<(String, Value)> {
    assert_eq!(courier.drain().await.unwrap(), End::Drained);
    transactions(test)
}

async fn users(test: &TestEngine) {
    for name in ["alice", "irc_a", "irc_b"] {
        test.user(name).await.unwrap();
    }
}

async fn room(engine: &Engine) -> OwnedRoomId {
    create(engine, &wanted_room(alice(), Preset::PublicChat)).await.unwrap()
}

async fn join_as(engine: &Engine, room_id: &RoomId, user_id: &UserId) {
    let join = Join { user_id, room_id, via: vec![], reason: None, more: Map::new() };
    join::join(engine, join).await.unwrap();
}

async fn say(engine: &Engine, room_id: &RoomId, body: &str) {
    send::message(engine, text(room_id, alice(), body)).await.unwrap();
}

#[tokio::test]
async fn it_is_told_what_happens_while_its_users_are_there() {
    on_each_database_with(settings(), async |test| {
        let engine = &test.engine;
        users(&test).await;
        let mut courier = courier(engine).await;
        let room_id = room(engine).await;
        say(engine, &room_id, "before").await;
        let member = Member::default();
        let invite = Invite { room_id: &room_id, sender: alice(), target: ghost(), member };
        invite::invite(engine, invite).await.unwrap();
        say(engine, &room_id, "invited").await;
        assert_eq!(said(&told(&test, &mut courier).await), ["invite"]);
        join_as(engine, &room_id, ghost()).await;
        say(engine, &room_id, "there").await;
        leave::leave(engine, ghost(), &room_id, None).await.unwrap();
        say(engine, &room_id, "after").await;
        // It was not there to take anything, and learns all the same what it missed.
        let told = told(&test, &mut courier).await;
        assert_eq!(said(&told), ["join", "there", "leave"]);
        let event = &told[0].1["events"][0];
        assert_eq!(event["room_id"], room_id.as_str());
        assert_eq!(event["state_key"], ghost().as_str());
        assert_eq!(event["unsigned"]["prev_content"]["membership"], "invite");
        assert_eq!(event["unsigned"].get("membership"), None);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn it_is_told_everything_from_its_first_start_on() {
    on_each_database_with(settings(), async |test| {
        let engine = &test.engine;
        users(&test).await;
        let room_id = room(engine).await;
        join_as(engine, &room_id, ghost()).await;
        // A server that is killed before it told anything.
        drop(courier(engine).await);
        say(engine, &room_id, "1").await;
        let mut courier = courier(engine).await;
        say(engine, &room_id, "2").await;
        assert_eq!(said(&told(&test, &mut courier).await), ["1", "2"]);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn it_is_told_of_rooms_by_their_aliases() {
    on_each_database_with(settings(), async |test| {
        let engine = &test.engine;
        users(&test).await;
        let mut courier = courier(engine).await;
        let room_id = room(engine).await;
        say(engine, &room_id, "without").await;
        assert_eq!(told(&test, &mut courier).await, []);
        let service = service(engine);
        let by = By { user_id: &service.sender, is_admin: false, appservice: Some(&service) };
        let alias = ruma::room_alias_id!("#irc_rust:test");
        naming::make(engine, by, alias, &room_id).await.unwrap();
        say(engine, &room_id, "with").await;
        assert_eq!(said(&told(&test, &mut courier).await), ["with"]);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_it_does_not_take_is_repeated_unchanged_also_after_a_restart() {
    on_each_database_with(settings(), async |test| {
        let engine = &test.engine;
        users(&test).await;
        let room_id = room(engine).await;
        join_as(engine, &room_id, ghost()).await;
        let mut first = courier(engine).await;
        say(engine, &room_id, "1").await;
        test.world.answer([(500, "{}"), (0, "")]);
        let pauses = [first.drain().await.unwrap(), first.drain().await.unwrap()];
        assert_eq!(pauses, [1, 2].map(|it| End::Pause(Duration::from_secs(it))));
        say(engine, &room_id, "2").await;
        let tried = transactions(&test);
        assert_eq!(tried.len(), 2);
        assert_eq!(tried[0], tried[1]);
        let test = test.restarted().await.unwrap();
        let mut second = courier(&test.engine).await;
        let told = told(&test, &mut second).await;
        assert_eq!(told[0], tried[0], "the same, with nothing added");
        assert_eq!(said(&told), ["1", "2"]);
        // Nothing is told twice.
        let test = test.restarted().await.unwrap();
        let mut third = courier(&test.engine).await;
        assert_eq!(self::told(&test, &mut third).await, []);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn much_is_told_in_several_transactions_in_order() {
    on_each_database_with(settings(), async |test| {
        let engine = &test.engine;
        users(&test).await;
        let room_id = room(engine).await;
        join_as(engine, &room_id, ghost()).await;
        let mut courier = courier(engine).await;
        let bodies: Vec<String> = (0..130).map(|number| number.to_string()).collect();
        for body in &bodies {
            say(engine, &room_id, body).await;
        }
        let told = told(&test, &mut courier).await;
        let sizes: Vec<_> =
            told.iter().map(|(_, body)| body["events"].as_array().unwrap().len()).collect();
        assert_eq!(sizes, [100, 30]);
        assert_eq!(said(&told), bodies);
        assert_ne!(told[0].0, told[1].0);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn receipts_and_typing_are_told_private_ones_only_of_its_own_users() {
    on_each_database_with(settings(), async |test| {
        let engine = &test.engine;
        users(&test).await;
        let room_id = room(engine).await;
        let elsewhere = room(engine).await;
        join_as(engine, &room_id, ghost()).await;
        let event_id = send::message(engine, text(&room_id, alice(), "1")).await.unwrap();
        let mut courier = courier(engine).await;
        let read = async |user_id: &UserId, kind| {
            let receipt = Receipt { kind, event_id: event_id.clone(), thread_id: None };
            receipts::send(engine, &room_id, user_id, &[receipt]).await.unwrap();
        };
        read(alice(), Kind::Private).await;
        assert_eq!(told(&test, &mut courier).await, []);
        read(ghost(), Kind::Private).await;
        read(alice(), Kind::Read).await;
        let minute = Some(Duration::from_secs(60));
        typing::set(engine, &room_id, alice(), minute).await.unwrap();
        typing::set(engine, &elsewhere, alice(), minute).await.unwrap();
        let told = told(&test, &mut courier).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].1["events"], json!([]));
        let ephemeral = told[0].1["ephemeral"].as_array().unwrap();
        let [receipt, typing] = &ephemeral[..] else { panic!("{ephemeral:?}") };
        let users: Vec<OwnedUserId> =
            serde_json::from_value(typing["content"]["user_ids"].clone()).unwrap();
        assert_eq!((&typing["type"], &typing["room_id"]), (&json!("m.typing"), &json!(room_id)));
        assert_eq!(users, [alice()]);
        assert_eq!((&receipt["type"], &receipt["room_id"]), (&json!("m.receipt"), &json!(room_id)));
        let of_event = &receipt["content"][event_id.as_str()];
        assert!(of_event["m.read"][alice().as_str()]["ts"].is_i64(), "{receipt}");
        assert!(of_event["m.read.private"][ghost().as_str()].is_object(), "{receipt}");
        assert_eq!(of_event["m.read.private"].get(alice().as_str()), None);
        test
    })
    .await
    .unwrap();
}

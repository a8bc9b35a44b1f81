//! Acting for users: `user_id`, `device_id`, `ts`, and what is limited.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    appservice::{Plan, acting_for},
    client::{User, encode, path, text},
};

use super::{scene, scene_of};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test]
async fn an_application_service_acts_for_its_users_and_nobody_else() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let own = api.get(WHOAMI).await.unwrap().ok().unwrap();
    assert_eq!(own["user_id"], scene.bridge.bot(&scene.server));
    assert_eq!(own.get("device_id"), None);
    let ghost = scene.bridge.ghost(&scene.server, "a");
    let as_ghost = format!("{WHOAMI}?{}", acting_for(&ghost));
    api.get(&as_ghost).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    scene.bridge.register(&scene.server, "a").await.unwrap();
    assert_eq!(api.get(&as_ghost).await.unwrap().ok().unwrap()["user_id"], ghost);
    let query = format!("{WHOAMI}?access_token={}&{}", scene.bridge.as_token(), acting_for(&ghost));
    let anonymous = starling_conformance::client::Api::new(&scene.server).unwrap();
    assert_eq!(anonymous.get(&query).await.unwrap().ok().unwrap()["user_id"], ghost);
    let alice = User::register(&scene.server, "alice").await.unwrap();
    for stranger in [&*alice.id, "@_irc_a:elsewhere.test"] {
        let as_stranger = format!("{WHOAMI}?{}", acting_for(stranger));
        api.get(&as_stranger).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let nobody = format!("{WHOAMI}?user_id=nobody");
    api.get(&nobody).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
    let by_hs_token = anonymous.with_token(scene.bridge.hs_token());
    by_hs_token.get(WHOAMI).await.unwrap().expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    // A user is who the token says, whatever the query does.
    let mine = format!("{WHOAMI}?{}", acting_for(&ghost));
    assert_eq!(alice.api.get(&mine).await.unwrap().ok().unwrap()["user_id"], alice.id);
}

#[tokio::test]
async fn a_user_who_was_closed_is_acted_for_no_more() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let acting = acting_for(&ghost);
    let close = format!("/_matrix/client/v3/account/deactivate?{acting}");
    api.post(&close, json!({})).await.unwrap().ok().unwrap();
    let whoami = format!("{WHOAMI}?{acting}");
    api.get(&whoami).await.unwrap().expect_error(403, "M_USER_DEACTIVATED").unwrap();
}

#[tokio::test]
async fn a_device_is_acted_for_that_the_user_has() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let acting = acting_for(&ghost);
    for name in ["device_id", "org.matrix.msc3202.device_id"] {
        let as_device = format!("{WHOAMI}?{acting}&{name}=PHONE");
        if name == "device_id" {
            let answer = api.get(&as_device).await.unwrap();
            answer.expect_error(400, "M_UNKNOWN_DEVICE").unwrap();
            let device = format!("/_matrix/client/v3/devices/PHONE?{acting}");
            assert_eq!(api.put(&device, json!({})).await.unwrap().status, 201);
        }
        assert_eq!(api.get(&as_device).await.unwrap().ok().unwrap()["device_id"], "PHONE");
    }
    let bots = format!("{WHOAMI}?device_id=PHONE");
    api.get(&bots).await.unwrap().expect_error(400, "M_UNKNOWN_DEVICE").unwrap();
    let logout = "/_matrix/client/v3/logout";
    let answer = api.post(&format!("{logout}?{acting}"), json!({})).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = api.post(&format!("{logout}?{acting}&device_id=PHONE"), json!({})).await.unwrap();
    answer.ok().unwrap();
    let gone = format!("{WHOAMI}?{acting}&device_id=PHONE");
    api.get(&gone).await.unwrap().expect_error(400, "M_UNKNOWN_DEVICE").unwrap();
}

#[tokio::test]
async fn the_time_of_an_event_is_what_an_application_service_says() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let acting = acting_for(&ghost);
    let create = format!("/_matrix/client/v3/createRoom?{acting}");
    let room = api.post(&create, json!({ "preset": "public_chat" })).await.unwrap().ok().unwrap();
    let room = text(&room, "/room_id").unwrap();
    let message = path("/_matrix/client/v3/rooms/{}/send/m.room.message/1", &[room]);
    let topic = path("/_matrix/client/v3/rooms/{}/state/m.room.topic", &[room]);
    let own = format!("/state/m.room.member/{}", encode(&ghost));
    let member = path("/_matrix/client/v3/rooms/{}", &[room]) + &own;
    for (path, body) in [
        (message.clone(), json!({ "body": "long ago" })),
        (topic.clone(), json!({ "topic": "T" })),
        (member, json!({ "membership": "join", "displayname": "A" })),
    ] {
        let sent = api.put(&format!("{path}?{acting}&ts=1234567"), body).await.unwrap().ok();
        let event = sent.unwrap();
        let event = path_of_event(room, text(&event, "/event_id").unwrap());
        let event = api.get(&format!("{event}?{acting}")).await.unwrap().ok().unwrap();
        assert_eq!(event["origin_server_ts"], 1_234_567, "{path}");
    }
    for ts in ["-1", "now", "9007199254740992", "1.5"] {
        for path in [&message, &topic] {
            let answer = api.put(&format!("{path}?{acting}&ts={ts}"), json!({})).await.unwrap();
            answer.expect_error(400, "M_INVALID_PARAM").unwrap();
        }
    }
    let alice = User::register(&scene.server, "alice").await.unwrap();
    alice.join(room, &[]).await.unwrap();
    let sent = alice.api.put(&format!("{message}?ts=1"), json!({})).await.unwrap().ok().unwrap();
    let event = alice.event(room, text(&sent, "/event_id").unwrap()).await.unwrap().ok().unwrap();
    assert_ne!(event["origin_server_ts"], 1, "nobody else chooses the time");
}

fn path_of_event(room: &str, event: &str) -> String {
    path("/_matrix/client/v3/rooms/{}/event/{}", &[room, event])
}

#[tokio::test]
async fn only_its_users_are_limited_and_only_if_it_says_so() {
    let settings = [
        ("RATE_LIMITS__ENABLED", "true"),
        ("RATE_LIMITS__REQUESTS", "{ burst = 3, per_second = 1 }"),
    ];
    for limited in [true, false] {
        let plan = Plan::new("irc").with("rate_limited", json!(limited));
        let scene = scene_of(plan, &settings).await;
        let api = scene.bridge.api(&scene.server).unwrap();
        let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
        let as_ghost = format!("{WHOAMI}?{}", acting_for(&ghost));
        let mut refused = 0;
        for _ in 0..12 {
            api.get(WHOAMI).await.unwrap().ok().unwrap();
            refused += usize::from(api.get(&as_ghost).await.unwrap().status == 429);
        }
        assert_eq!(refused > 0, limited, "{refused} were refused");
    }
}

#[tokio::test]
async fn a_transaction_id_counts_for_each_user_without_a_device() {
    let scene = scene().await;
    let api = scene.bridge.api(&scene.server).unwrap();
    let ghost = scene.bridge.register(&scene.server, "a").await.unwrap();
    let acting = acting_for(&ghost);
    let create = format!("/_matrix/client/v3/createRoom?{acting}");
    let room: Value = api.post(&create, json!({})).await.unwrap().ok().unwrap();
    let send = path("/_matrix/client/v3/rooms/{}/send/m.x/1", &[text(&room, "/room_id").unwrap()]);
    let send = format!("{send}?{acting}");
    let first = api.request(Method::PUT, &send, Some(&json!({}))).await.unwrap().ok().unwrap();
    let again = api.request(Method::PUT, &send, Some(&json!({}))).await.unwrap().ok().unwrap();
    assert_eq!(first, again);
}

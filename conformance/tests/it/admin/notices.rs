//! POST /_synapse/admin/v1/send_server_notice
//! PUT /_synapse/admin/v1/send_server_notice/{txnId}

use serde_json::{Value, json};
use starling_conformance::{
    client::{Sync, User, path},
    servers::Server,
};
use tokio::sync::OnceCell;

use super::at;
use crate::support;

async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    let spec = || {
        support::spec()
            .with_setting("SERVER_NOTICES__LOCALPART", "notices")
            .with_setting("SERVER_NOTICES__DISPLAY_NAME", "The server")
    };
    SERVER.get_or_init(async || support::start(spec()).await).await
}

fn notice(user: &User, body: &str) -> Value {
    json!({ "user_id": user.id, "content": { "msgtype": "m.text", "body": body } })
}

/// The rooms that a user is invited to, with the stripped state.
async fn invites(user: &User) -> Value {
    let sync = user.api.get("/_matrix/client/v3/sync?timeout=0").await.unwrap().ok().unwrap();
    sync["rooms"]["invite"].clone()
}

fn only_room(rooms: &Value) -> String {
    let rooms: Vec<_> = rooms.as_object().unwrap().keys().cloned().collect();
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    rooms[0].clone()
}

#[tokio::test]
async fn the_server_speaks_to_a_user_in_one_room() {
    let server = server().await;
    let admin = User::admin(server, "admin").await.unwrap();
    let alice = User::register(server, "alice").await.unwrap();
    // Who takes no invites is spoken to nevertheless.
    let kind = "m.invite_permission_config";
    let data = path("/_matrix/client/v3/user/{}/account_data/{}", &[&alice.id, kind]);
    alice.api.put(&data, json!({ "default_action": "block" })).await.unwrap().ok().unwrap();
    let send = at("/v1/send_server_notice", &[]);
    let answer = admin.api.post(&send, notice(&alice, "first")).await.unwrap().ok().unwrap();
    let first = answer["event_id"].as_str().unwrap().to_owned();
    alice.api.put(&data, json!({})).await.unwrap().ok().unwrap();
    let room = only_room(&invites(&alice).await);

    let leave = path("/_matrix/client/v3/rooms/{}/leave", &[&room]);
    let answer = alice.api.post(&leave, json!({})).await.unwrap();
    answer.expect_error(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM").unwrap();
    let member = path("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", &[&room, &alice.id]);
    let answer = alice.api.put(&member, json!({ "membership": "leave" })).await.unwrap();
    answer.expect_error(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM").unwrap();

    alice.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    sync.event_with_id(&room, &first).await.unwrap();
    let tags = path("/_matrix/client/v3/user/{}/rooms/{}/tags", &[&alice.id, &room]);
    let tags = alice.api.get(&tags).await.unwrap().ok().unwrap();
    assert!(tags["tags"]["m.server_notice"].is_object(), "{tags}");
    let answer = alice.try_send(&room, "m.room.message", "x", json!({})).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let profile = path("/_matrix/client/v3/profile/{}", &[&format!("@notices:{}", server.name())]);
    let profile = alice.api.get(&profile).await.unwrap().ok().unwrap();
    assert_eq!(profile["displayname"], "The server");

    alice.leave(&room).await.unwrap();
    admin.api.post(&send, notice(&alice, "second")).await.unwrap().ok().unwrap();
    assert_eq!(only_room(&invites(&alice).await), room);

    let once = at("/v1/send_server_notice/{}", &["txn"]);
    let twice = [
        admin.api.put(&once, notice(&alice, "third")).await.unwrap().ok().unwrap(),
        admin.api.put(&once, notice(&alice, "third")).await.unwrap().ok().unwrap(),
    ];
    assert_eq!(twice[0], twice[1]);
}

#[tokio::test]
async fn notices_are_refused_that_nobody_can_get() {
    let server = server().await;
    let admin = User::admin(server, "admin").await.unwrap();
    let alice = User::register(server, "alice").await.unwrap();
    let send = at("/v1/send_server_notice", &[]);
    let ask = async |body: Value| admin.api.post(&send, body).await.unwrap();
    let to = |user: &str| json!({ "user_id": user, "content": {} });
    let nobody = format!("@nobody:{}", server.name());
    ask(to(&nobody)).await.expect_error(404, "M_NOT_FOUND").unwrap();
    ask(to("@x:elsewhere.example.org")).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    ask(json!({})).await.expect_error(400, "M_MISSING_PARAM").unwrap();
    let answer = alice.api.post(&send, notice(&alice, "x")).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    // The name is nobody's, and without settings there are none.
    let api = starling_conformance::client::Api::new(server).unwrap();
    let body = json!({ "username": "notices", "password": "x" });
    api.register(body).await.unwrap().expect_error(400, "M_USER_IN_USE").unwrap();
    let elsewhere = support::admin().await;
    let body = notice(&elsewhere, "x");
    elsewhere.api.post(&send, body).await.unwrap().expect_error(400, "M_UNKNOWN").unwrap();
}

//! Guest access: `POST /_matrix/client/v3/register?kind=guest`, what guests may do and how they stay.

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Api, PASSWORD, Sync, User, path},
    servers::Server,
};

use crate::support;

const GUEST: &str = "/_matrix/client/v3/register?kind=guest";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

async fn open_server() -> Server {
    support::server_with(&[("REGISTRATION__GUESTS", "true")]).await
}

async fn guest(server: &Server) -> User {
    let api = Api::new(server).unwrap();
    let body = json!({ "initial_device_display_name": "Phone", "device_id": "MINE",
                       "username": "chosen", "inhibit_login": true });
    User::from_login(&api, api.post(GUEST, body).await.unwrap()).unwrap()
}

async fn room_of(host: &User, guest_access: Option<&str>) -> String {
    let room = host.create_public_room().await.unwrap();
    if let Some(access) = guest_access {
        let content = json!({ "guest_access": access });
        host.set_state(&room, "m.room.guest_access", "", content).await.unwrap();
    }
    room
}

async fn join(user: &User, room: &str) -> Answer {
    let target = path("/_matrix/client/v3/rooms/{}/join", &[room]);
    user.api.post(&target, json!({})).await.unwrap()
}

#[tokio::test]
async fn guests_are_let_in_only_when_the_server_says_so() {
    let answer = support::anonymous().await.post(GUEST, json!({})).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn a_guest_chooses_nothing_but_the_name_of_the_device() {
    let server = open_server().await;
    let guest = guest(&server).await;
    assert!(!guest.id.starts_with("@chosen:"), "{}", guest.id);
    assert_ne!(guest.device, "MINE");
    let whoami = guest.api.get(WHOAMI).await.unwrap().ok().unwrap();
    assert_eq!(whoami["is_guest"], true);
    let devices = guest.api.get("/_matrix/client/v3/devices").await.unwrap().ok().unwrap();
    assert_eq!(devices["devices"][0]["display_name"], "Phone");
    let target = path("/_matrix/client/v3/devices/{}", &[&guest.device]);
    let body = json!({ "display_name": "Tablet" });
    guest.api.put(&target, body).await.unwrap().ok().unwrap();
    let body = guest.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(body["display_name"], "Tablet");
}

#[tokio::test]
async fn guests_join_only_rooms_that_let_them_in() {
    let server = open_server().await;
    let (guest, host) = (guest(&server).await, User::register(&server, "host").await.unwrap());
    for access in [None, Some("forbidden"), Some("whatever")] {
        let room = room_of(&host, access).await;
        join(&guest, &room).await.expect_error(403, "M_GUEST_ACCESS_FORBIDDEN").unwrap();
        let target =
            path("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", &[&room, &guest.id]);
        let answer = guest.api.put(&target, json!({ "membership": "join" })).await.unwrap();
        answer.expect_error(403, "M_GUEST_ACCESS_FORBIDDEN").unwrap();
    }
    let room = room_of(&host, Some("can_join")).await;
    join(&guest, &room).await.ok().unwrap();
    guest.say(&room, "hello").await.unwrap();
    guest.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    assert!(!guest.history(&room).await.unwrap().is_empty());
    let members = path("/_matrix/client/v3/rooms/{}/members", &[&room]);
    guest.api.get(&members).await.unwrap().ok().unwrap();
    guest.leave(&room).await.unwrap();
}

#[tokio::test]
async fn guests_leave_a_room_that_lets_them_in_no_more() {
    let server = open_server().await;
    let (guest, host) = (guest(&server).await, User::register(&server, "host").await.unwrap());
    let other = User::register(&server, "other").await.unwrap();
    let room = room_of(&host, Some("can_join")).await;
    join(&guest, &room).await.ok().unwrap();
    join(&other, &room).await.ok().unwrap();
    let mut sync = Sync::start(&host).await.unwrap();
    let content = json!({ "guest_access": "forbidden" });
    host.set_state(&room, "m.room.guest_access", "", content).await.unwrap();
    sync.membership(&room, &guest.id, "leave").await.unwrap();
    other.say(&room, "still here").await.unwrap();
}

#[tokio::test]
async fn everything_else_is_forbidden_to_guests() {
    let server = open_server().await;
    let guest = guest(&server).await;
    let client = "/_matrix/client/v3";
    for address in ["capabilities", "joined_rooms", "pushrules/", "notifications", "account/3pid"] {
        let answer = guest.api.get(&format!("{client}/{address}")).await.unwrap();
        answer.expect_error(403, "M_GUEST_ACCESS_FORBIDDEN").unwrap();
    }
    for address in ["createRoom", "account/deactivate", "account/password", "publicRooms", "logout"]
    {
        let answer = guest.api.post(&format!("{client}/{address}"), json!({})).await.unwrap();
        answer.expect_error(403, "M_GUEST_ACCESS_FORBIDDEN").unwrap();
    }
    let field = |name: &str| path("/_matrix/client/v3/profile/{}/{}", &[&guest.id, name]);
    let name = json!({ "displayname": "Guest" });
    guest.api.put(&field("displayname"), name).await.unwrap().ok().unwrap();
    guest.api.delete(&field("displayname")).await.unwrap().ok().unwrap();
    let avatar = json!({ "avatar_url": "mxc://x/y" });
    let answer = guest.api.put(&field("avatar_url"), avatar).await.unwrap();
    answer.expect_error(403, "M_GUEST_ACCESS_FORBIDDEN").unwrap();
}

async fn upgrade(server: &Server, username: Option<&str>, token: &str) -> Result<Value, String> {
    let mut body = json!({ "password": PASSWORD, "guest_access_token": token });
    if let Some(username) = username {
        body["username"] = json!(username);
    }
    let answer = Api::new(server).unwrap().register(body).await.unwrap();
    let errcode = answer.errcode().to_owned();
    answer.ok().map_err(|_| errcode)
}

#[tokio::test]
async fn a_guest_who_registers_keeps_name_rooms_and_session() {
    let server = open_server().await;
    let (guest, host) = (guest(&server).await, User::register(&server, "host").await.unwrap());
    let room = room_of(&host, Some("can_join")).await;
    join(&guest, &room).await.ok().unwrap();
    let name = guest.id.trim_start_matches('@').split(':').next().unwrap();
    for (username, token, errcode) in [
        (None, guest.token.as_str(), "M_MISSING_PARAM"),
        (Some("another"), &guest.token, "M_FORBIDDEN"),
        (Some(name), "no token of ours", "M_UNKNOWN_TOKEN"),
        (Some(name), &host.token, "M_FORBIDDEN"),
    ] {
        assert_eq!(upgrade(&server, username, token).await, Err(errcode.to_owned()));
    }
    let body = upgrade(&server, Some(name), &guest.token).await.unwrap();
    assert_eq!(body["user_id"], guest.id.as_str());
    let whoami = guest.api.get(WHOAMI).await.unwrap().ok().unwrap();
    assert_ne!(whoami["is_guest"], true);
    guest.api.get("/_matrix/client/v3/capabilities").await.unwrap().ok().unwrap();
    guest.login().await.unwrap();
    let content = json!({ "guest_access": "forbidden" });
    host.set_state(&room, "m.room.guest_access", "", content).await.unwrap();
    guest.say(&room, "no guest any more").await.unwrap();
    assert_eq!(upgrade(&server, Some(name), &guest.token).await, Err("M_FORBIDDEN".to_owned()));
}

//! `/_synapse/admin`: one file per endpoint, as for the other APIs.

mod deleting;
mod devices;
mod event_reports;
mod federation;
mod media;
mod notices;
mod rate_limits;
mod registration_tokens;
mod rooms;
mod shadow_ban;
mod users;

use starling_conformance::client::{Api, path};

use crate::support;

/// Operations with parameters that need not exist: whoever is no administrator learns nothing.
const OPERATIONS: [(&str, &str); 31] = [
    ("GET", "/_synapse/admin/v2/users"),
    ("GET", "/_synapse/admin/v2/users/@nobody:example.org"),
    ("PUT", "/_synapse/admin/v2/users/@nobody:example.org"),
    ("GET", "/_synapse/admin/v2/users/@nobody:example.org/devices"),
    ("POST", "/_synapse/admin/v1/deactivate/@nobody:example.org"),
    ("POST", "/_synapse/admin/v1/reset_password/@nobody:example.org"),
    ("PUT", "/_synapse/admin/v1/suspend/@nobody:example.org"),
    ("POST", "/_synapse/admin/v1/users/@nobody:example.org/login"),
    ("POST", "/_synapse/admin/v1/users/@nobody:example.org/shadow_ban"),
    ("GET", "/_synapse/admin/v1/users/@nobody:example.org/override_ratelimit"),
    ("GET", "/_synapse/admin/v1/statistics/database/rooms"),
    ("GET", "/_synapse/admin/v1/statistics/users/media"),
    ("GET", "/_synapse/admin/v1/users/@nobody:example.org/media"),
    ("DELETE", "/_synapse/admin/v1/media/example.org/nothing"),
    ("POST", "/_synapse/admin/v1/media/quarantine/example.org/nothing"),
    ("POST", "/_synapse/admin/v1/media/delete?before_ts=4000000000000"),
    ("POST", "/_synapse/admin/v1/purge_media_cache?before_ts=4000000000000"),
    ("GET", "/_synapse/admin/v1/room/!nowhere:example.org/media"),
    ("GET", "/_synapse/admin/v1/threepid/email/users/nobody@example.org"),
    ("GET", "/_synapse/admin/v1/whois/@nobody:example.org"),
    ("GET", "/_synapse/admin/v1/registration_tokens"),
    ("GET", "/_synapse/admin/v1/event_reports"),
    ("GET", "/_synapse/admin/v1/federation/destinations"),
    ("GET", "/_synapse/admin/v1/rooms"),
    ("GET", "/_synapse/admin/v1/rooms/!nowhere:example.org/messages"),
    ("PUT", "/_synapse/admin/v1/rooms/!nowhere:example.org/block"),
    ("DELETE", "/_synapse/admin/v2/rooms/!nowhere:example.org"),
    ("POST", "/_synapse/admin/v1/join/!nowhere:example.org"),
    ("POST", "/_synapse/admin/v1/purge_history/!nowhere:example.org"),
    ("POST", "/_synapse/admin/v1/user/@nobody:example.org/redact"),
    ("POST", "/_synapse/admin/v1/send_server_notice"),
];

/// A path under `/_synapse/admin` with values in it.
fn at(template: &str, values: &[&str]) -> String {
    path(&format!("/_synapse/admin{template}"), values)
}

#[tokio::test]
async fn only_administrators_are_answered() {
    let alice = support::user("alice").await;
    let anonymous = support::anonymous().await;
    let stranger = anonymous.with_token("nonsense");
    for (method, path) in OPERATIONS {
        let ask = async |api: &Api| api.request(method.parse().unwrap(), path, None).await.unwrap();
        ask(&alice.api).await.expect_error(403, "M_FORBIDDEN").unwrap();
        ask(&anonymous).await.expect_error(401, "M_MISSING_TOKEN").unwrap();
        ask(&stranger).await.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    }
    let version = anonymous.get("/_synapse/admin/v1/server_version").await.unwrap().ok().unwrap();
    assert!(version["server_version"].is_string(), "{version}");
}

/// A public listener has none of it, but for the registration by secret.
#[tokio::test]
async fn the_client_listener_has_it_only_when_told_so() {
    use starling_conformance::{client::User, servers::ports};
    let port = ports::free().unwrap();
    let tools = format!("127.0.0.1:{port}");
    let server = support::start(support::spec().with_setting("ADMIN__LISTEN", &tools)).await;
    let admin = User::admin(&server, "admin").await.unwrap();
    for (method, path) in OPERATIONS {
        let answer = admin.api.request(method.parse().unwrap(), path, None).await.unwrap();
        answer.expect_error(404, "M_UNRECOGNIZED").unwrap();
    }
    let api = Api::at(&format!("http://{tools}")).unwrap().with_token(&admin.token);
    let users = api.get("/_synapse/admin/v2/users").await.unwrap().ok().unwrap();
    assert_eq!(users["users"][0]["name"], *admin.id);
    let whoami = api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    assert_eq!(whoami["user_id"], *admin.id);
}

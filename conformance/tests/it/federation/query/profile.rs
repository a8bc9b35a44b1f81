//! GET /_matrix/federation/v1/query/profile

use serde_json::json;
use starling_conformance::client::{User, path};

use crate::support;

#[tokio::test]
async fn another_server_learns_of_our_users_and_of_no_others() {
    let (server, peer) = (support::server().await, support::peer().await);
    let alice = support::user("alice").await;
    for (field, value) in [("displayname", "Alice"), ("m.tz", "Europe/Rome")] {
        let target = path("/_matrix/client/v3/profile/{}/{}", &[&alice.id, field]);
        alice.api.put(&target, json!({ (field): value })).await.unwrap().ok().unwrap();
    }
    let ask = async |user: &str, more: &str| {
        let target = path("/_matrix/federation/v1/query/profile?user_id={}", &[user]) + more;
        peer.get(server, &target).await.unwrap()
    };
    let whole = ask(&alice.id, "").await.ok().unwrap();
    assert_eq!(whole, json!({ "displayname": "Alice", "m.tz": "Europe/Rome" }));
    let name = ask(&alice.id, "&field=displayname").await.ok().unwrap();
    assert_eq!(name, json!({ "displayname": "Alice" }));
    let elsewhere = peer.user("mallory");
    for nobody in [alice.id.replace("@alice", "@nobody"), elsewhere] {
        ask(&nobody, "").await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}

#[tokio::test]
async fn a_server_can_keep_its_profiles_to_itself() {
    let server = support::server_with(&[("PROFILES__SHOWN_TO_SERVERS", "false")]).await;
    let peer = support::peer().await;
    let alice = User::register(&server, "alice").await.unwrap();
    for user in [&alice.id, &alice.id.replace("@alice", "@nobody")] {
        let target = path("/_matrix/federation/v1/query/profile?user_id={}", &[user]);
        let answer = peer.get(&server, &target).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
}

//! POST /_matrix/client/v3/account/deactivate

use serde_json::json;
use starling_conformance::client::{PASSWORD, Sync};

use crate::support;

#[tokio::test]
async fn a_closed_account_leaves_its_rooms_and_lets_nobody_in() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = bob.create_public_room().await.unwrap();
    alice.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD });
    let path = "/_matrix/client/v3/account/deactivate";
    alice.api.post(path, json!({})).await.unwrap().expect_status(401).unwrap();
    alice.api.post(path, json!({ "auth": &auth })).await.unwrap().ok().unwrap();
    let whoami = alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let body = json!({ "type": "m.login.password", "identifier": auth["identifier"],
                       "password": PASSWORD });
    let answer = support::anonymous().await.post("/_matrix/client/v3/login", body).await.unwrap();
    answer.expect_error(403, "M_USER_DEACTIVATED").unwrap();
    sync.membership(&room, &alice.id, "leave").await.unwrap();
}

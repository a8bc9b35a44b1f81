//! GET /_matrix/client/v3/capabilities

use serde_json::json;

use crate::support;

#[tokio::test]
async fn clients_learn_which_rooms_can_be_made_and_what_can_be_changed() {
    let alice = support::user("alice").await;
    let answer = alice.api.get("/_matrix/client/v3/capabilities").await.unwrap().ok().unwrap();
    let capabilities = &answer["capabilities"];
    let versions = &capabilities["m.room_versions"];
    let default = versions["default"].as_str().unwrap();
    assert_eq!(versions["available"][default], "stable", "{versions}");
    assert_eq!(capabilities["m.change_password"], json!({ "enabled": true }));
}

#[tokio::test]
async fn nobody_learns_them_without_a_token() {
    let answer = support::anonymous().await.get("/_matrix/client/v3/capabilities").await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

//! POST /_matrix/client/v3/delete_devices

use serde_json::json;
use starling_conformance::client::PASSWORD;

use crate::support;

#[tokio::test]
async fn several_devices_go_at_once_when_the_password_is_given() {
    let alice = support::user("alice").await;
    let others = [alice.login().await.unwrap(), alice.login().await.unwrap()];
    let target = "/_matrix/client/v3/delete_devices";
    let devices = json!([&others[0].device, &others[1].device, "never-was-there"]);
    let wanted = alice.api.post(target, json!({ "devices": devices })).await.unwrap();
    let wanted = wanted.expect_status(401).unwrap();
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let auth = json!({ "type": "m.login.password", "identifier": identifier,
                       "password": PASSWORD, "session": wanted.body["session"] });
    let body = json!({ "devices": devices, "auth": auth });
    alice.api.post(target, body).await.unwrap().ok().unwrap();
    for other in others {
        let whoami = other.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
        whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    }
}

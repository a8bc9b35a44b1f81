//! GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports

use serde_json::{Value, json};
use starling_conformance::client::{Api, User};

use crate::support;

const PATH: &str = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";

async fn is_advertised(api: &Api) -> Value {
    let versions = api.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
    versions["unstable_features"]["org.matrix.msc4143"].clone()
}

#[tokio::test]
async fn without_a_transport_there_is_none() {
    let alice = support::user("alice").await;
    assert_eq!(alice.api.get(PATH).await.unwrap().ok().unwrap(), json!({ "rtc_transports": [] }));
    assert_eq!(is_advertised(&alice.api).await, false);
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn transports_are_told_to_users_and_announced() {
    let server = support::server_with(&[
        ("RTC__LIVEKIT_URLS", "https://livekit.example.org/jwt"),
        ("CLIENT__PUBLIC_URL", "https://matrix.example.org"),
    ])
    .await;
    let alice = User::register(&server, "alice").await.unwrap();
    let url = "https://livekit.example.org/jwt";
    let transports = json!([{ "type": "livekit", "livekit_service_url": url }]);
    let answer = alice.api.get(PATH).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "rtc_transports": transports }));
    assert_eq!(is_advertised(&alice.api).await, true);
    let announced = alice.api.get("/.well-known/matrix/client").await.unwrap().ok().unwrap();
    assert_eq!(announced["org.matrix.msc4143.rtc_foci"], transports);
}

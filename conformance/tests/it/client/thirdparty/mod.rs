//! `/thirdparty`: networks that application services bridge to. Here there are none.

use crate::support;

const PATHS: [&str; 5] = [
    "/_matrix/client/v3/thirdparty/protocol/irc",
    "/_matrix/client/v3/thirdparty/location/irc",
    "/_matrix/client/v3/thirdparty/user/irc?channel=x",
    "/_matrix/client/v3/thirdparty/location?alias=%23a%3Aexample.org",
    "/_matrix/client/v3/thirdparty/user?userid=%40a%3Aexample.org",
];

#[tokio::test]
async fn without_bridges_there_are_no_protocols() {
    let alice = support::user("alice").await;
    let protocols = alice.api.get("/_matrix/client/v3/thirdparty/protocols").await.unwrap();
    assert_eq!(protocols.ok().unwrap(), serde_json::json!({}));
    for path in PATHS {
        alice.api.get(path).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    }
    for path in ["location", "user"] {
        let path = format!("/_matrix/client/v3/thirdparty/{path}");
        alice.api.get(&path).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
    }
    let anybody = support::anonymous().await;
    for path in PATHS.into_iter().chain(["/_matrix/client/v3/thirdparty/protocols"]) {
        anybody.get(path).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
}

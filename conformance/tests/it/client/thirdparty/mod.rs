//! `/thirdparty`: networks that application services bridge to.

use serde_json::{Value, json};
use starling_conformance::{
    appservice::{Bridge, Plan},
    client::{Api, User},
};

use crate::{appservice::server_with, support};

const THIRDPARTY: &str = "/_matrix/client/v3/thirdparty";

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
    assert_eq!(protocols.ok().unwrap(), json!({}));
    for path in PATHS {
        alice.api.get(path).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    }
    for path in ["location", "user"] {
        let path = format!("/_matrix/client/v3/thirdparty/{path}");
        alice.api.get(&path).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
    }
    for path in ["location?alias=a", "user?userid=a"] {
        let path = format!("/_matrix/client/v3/thirdparty/{path}");
        alice.api.get(&path).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let anybody = support::anonymous().await;
    for path in PATHS.into_iter().chain(["/_matrix/client/v3/thirdparty/protocols"]) {
        anybody.get(path).await.unwrap().expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
}

fn protocol(network: &str) -> Value {
    json!({
        "user_fields": ["nick"], "location_fields": ["channel"], "icon": "mxc://x.org/irc",
        "field_types": { "nick": { "regexp": "[^ ]+", "placeholder": "nick" } },
        "instances": [{ "desc": network, "network_id": network, "fields": {} }],
    })
}

async fn bridge(id: &str) -> Bridge {
    let bridge = Bridge::start(Plan::new(id).with("protocols", json!(["irc"]))).await.unwrap();
    bridge.answer("thirdparty/protocol/irc", 200, protocol(id));
    bridge
}

#[tokio::test]
async fn what_bridges_know_is_put_together() {
    let (mut first, second) = (bridge("oftc").await, bridge("libera").await);
    let server = server_with(&[&first, &second], &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let get = async |path: &str| alice.api.get(&format!("{THIRDPARTY}/{path}")).await.unwrap();
    let irc = get("protocol/irc").await.ok().unwrap();
    let ids: Vec<&Value> =
        irc["instances"].as_array().unwrap().iter().map(|it| &it["instance_id"]).collect();
    assert_eq!(ids, ["oftc|oftc", "libera|libera"]);
    assert_eq!(irc["location_fields"], json!(["channel"]));
    assert_eq!(get("protocols").await.ok().unwrap(), json!({ "irc": irc }));
    get("protocol/xmpp").await.expect_error(404, "M_NOT_FOUND").unwrap();
    get("location/xmpp").await.expect_error(404, "M_NOT_FOUND").unwrap();
    let found = |id: &str| json!([{ "alias": id, "protocol": "irc", "fields": {} }]);
    first.answer("thirdparty/location/irc", 200, found("#a:x"));
    second.answer("thirdparty/location/irc", 200, found("#b:x"));
    let places = get("location/irc?channel=%23a&access_token=x").await.ok().unwrap();
    let aliases: Vec<&Value> =
        places.as_array().unwrap().iter().map(|place| &place["alias"]).collect();
    assert_eq!(aliases, ["#a:x", "#b:x"]);
    let asked = first.asked().pop().unwrap();
    assert_eq!(asked.path, "/_matrix/app/v1/thirdparty/location/irc?channel=%23a");
    // One that fails or has no idea spoils nothing.
    first.answer("thirdparty/location/irc", 500, json!({}));
    assert_eq!(get("location/irc").await.ok().unwrap(), found("#b:x"));
    get("user/irc?nick=a").await.expect_error(404, "M_NOT_FOUND").unwrap();
    let user = json!([{ "userid": "@_libera_a:x", "protocol": "irc", "fields": { "nick": "a" } }]);
    second.answer("thirdparty/user/irc", 200, user.clone());
    assert_eq!(get("user/irc?nick=a").await.ok().unwrap(), user);
    second.answer("thirdparty/user", 200, user.clone());
    assert_eq!(get("user?userid=%40_libera_a%3Ax").await.ok().unwrap(), user);
    second.answer("thirdparty/location", 200, found("#b:x"));
    assert_eq!(get("location?alias=%23b%3Ax").await.ok().unwrap(), found("#b:x"));
    // What a network is, is remembered.
    first.go();
    assert_eq!(get("protocol/irc").await.ok().unwrap(), irc);
    let many: String = (0..60).map(|number| format!("f{number}=x&")).collect();
    get(&format!("user/irc?{many}")).await.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn rooms_are_listed_for_networks() {
    let (oftc, libera) = (bridge("oftc").await, bridge("libera").await);
    let server = server_with(&[&oftc, &libera], &[]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let path = |room: &str| {
        let template = "/_matrix/client/v3/directory/list/appservice/{}/{}";
        starling_conformance::client::path(template, &["oftc", room])
    };
    let listed = async |body: Value| {
        let page = alice.api.post("/_matrix/client/v3/publicRooms", body).await.unwrap();
        let page = page.ok().unwrap();
        page["chunk"].as_array().unwrap().iter().any(|it| it["room_id"] == room)
    };
    let of = |id: &str| json!({ "third_party_instance_id": id });
    let api = oftc.api(&server).unwrap();
    api.put(&path(&room), json!({ "visibility": "public" })).await.unwrap().ok().unwrap();
    for (body, is_listed) in [
        (of("oftc|oftc"), true),
        (of("libera|oftc"), false),
        (of("oftc"), false),
        (json!({ "include_all_networks": true }), true),
        (json!({}), false),
    ] {
        assert_eq!(listed(body.clone()).await, is_listed, "{body}");
    }
    api.put(&path(&room), json!({ "visibility": "private" })).await.unwrap().ok().unwrap();
    assert!(!listed(of("oftc|oftc")).await);
    let public = json!({ "visibility": "public" });
    let answer = alice.api.put(&path(&room), public.clone()).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let anybody = Api::new(&server).unwrap();
    let answer = anybody.put(&path(&room), public.clone()).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let answer = api.put(&path("!none:x.org"), public).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    for body in [json!({}), json!({ "visibility": "maybe" })] {
        let answer = api.put(&path(&room), body).await.unwrap();
        assert_eq!(answer.status, 400);
    }
}

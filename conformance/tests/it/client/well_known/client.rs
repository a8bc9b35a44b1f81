//! GET /.well-known/matrix/client

use serde_json::json;
use starling_conformance::client::Api;

use crate::support;

const PATH: &str = "/.well-known/matrix/client";

#[tokio::test]
async fn nothing_is_announced_without_an_address() {
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn the_address_is_announced_with_whatever_else_is_set() {
    let keys = r#"{ "org.matrix.msc3488.tile_server" = { map_style_url = "https://maps.example.org" }, "org.matrix.msc4143.rtc_foci" = [{ type = "livekit" }] }"#;
    let spec = support::spec()
        .with_setting("CLIENT__PUBLIC_URL", "https://matrix.example.org")
        .with_setting("CLIENT__WELL_KNOWN", keys);
    let server = support::start(spec).await;
    let answer = Api::new(&server).unwrap().get(PATH).await.unwrap();
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let expected = json!({
        "m.homeserver": { "base_url": "https://matrix.example.org" },
        "org.matrix.msc3488.tile_server": { "map_style_url": "https://maps.example.org" },
        "org.matrix.msc4143.rtc_foci": [{ "type": "livekit" }],
    });
    assert_eq!(answer.ok().unwrap(), expected);
}

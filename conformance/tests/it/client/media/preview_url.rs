//! GET /_matrix/client/v1/media/preview_url
//! GET /_matrix/media/v3/preview_url

use axum::{
    Router,
    response::{Html, Redirect},
    routing::get,
};
use starling_conformance::client::{Answer, User};

use super::{download, picture};
use crate::support;

const PREVIEW: &str = "/_matrix/client/v1/media/preview_url";

/// A web server; its address.
async fn web() -> String {
    let page = "<html><head><title>A page</title>\
                <meta property='og:description' content='of &quot;words&quot;'>\
                <meta property='og:image' content='/picture.png'></head></html>";
    let router = Router::new()
        .route("/page", get(async move || Html(page)))
        .route("/moved", get(async || Redirect::temporary("/page")))
        .route("/bare", get(async || Html("<title>Bare</title>")))
        .route("/text", get(async || "no page"))
        .route("/picture.png", get(async || ([("content-type", "image/png")], picture(30, 20))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn preview(user: &User, url: &str) -> Answer {
    let query = format!("?url={}", starling_conformance::client::encode(url));
    user.api.get(&format!("{PREVIEW}{query}")).await.unwrap()
}

#[tokio::test]
async fn a_page_says_what_it_is_about() {
    let server = support::server_with(&[("MEDIA__ALLOW_PRIVATE_ADDRESSES", "true")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let web = web().await;
    for path in ["/page", "/moved"] {
        let shown = preview(&alice, &format!("{web}{path}")).await.ok().unwrap();
        assert_eq!(shown["og:title"], "A page");
        assert_eq!(shown["og:description"], "of \"words\"");
        assert_eq!(shown["og:url"], format!("{web}/page"));
        assert_eq!(shown["og:image:width"], 30);
        assert_eq!(shown["matrix:image:size"], picture(30, 20).len());
        let uri = shown["og:image"].as_str().unwrap();
        let fetched = download(&alice.api, uri).await.expect_status(200).unwrap();
        assert_eq!(fetched.bytes, picture(30, 20));
    }
    let bare = preview(&alice, &format!("{web}/bare")).await.ok().unwrap();
    assert_eq!(bare["og:title"], "Bare");
    assert!(bare.get("og:image").is_none());
    let shown = preview(&alice, &format!("{web}/picture.png")).await.ok().unwrap();
    assert_eq!(shown["og:image:type"], "image/png");
    let text = preview(&alice, &format!("{web}/text")).await.ok().unwrap();
    assert_eq!(text, serde_json::json!({}));
    preview(&alice, &format!("{web}/none")).await.expect_error(502, "M_UNKNOWN").unwrap();
    let old = format!("/_matrix/media/v3/preview_url?url={web}/bare");
    assert_eq!(alice.api.get(&old).await.unwrap().ok().unwrap(), bare);
}

#[tokio::test]
async fn only_the_public_web_is_looked_at() {
    let alice = support::user("alice").await;
    let web = web().await;
    let port = web.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "0.0.0.0", "169.254.169.254"]
    {
        let refused = preview(&alice, &format!("http://{host}:{port}/page")).await;
        refused.expect_error(502, "M_UNKNOWN").unwrap();
    }
    for other in ["file:///etc/passwd", "gopher://example.org/"] {
        preview(&alice, other).await.expect_error(502, "M_UNKNOWN").unwrap();
    }
    preview(&alice, "no address").await.expect_error(400, "M_INVALID_PARAM").unwrap();
    alice.api.get(PREVIEW).await.unwrap().expect_error(400, "M_MISSING_PARAM").unwrap();
    let server = support::server_with(&[("MEDIA__URL_PREVIEWS", "false")]).await;
    let bob = User::register(&server, "bob").await.unwrap();
    preview(&bob, "http://example.org/").await.expect_error(404, "M_UNRECOGNIZED").unwrap();
}

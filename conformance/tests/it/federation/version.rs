//! GET /_matrix/federation/v1/version

use http::Method;

use crate::support;

#[tokio::test]
async fn anybody_learns_what_this_server_runs() {
    let (server, peer) = (support::server().await, support::peer().await);
    let target = "/_matrix/federation/v1/version";
    let told = peer.request_as(server, Method::GET, target, None, None).await.unwrap();
    let told = told.ok().unwrap();
    assert!(told["server"]["name"].is_string() && told["server"]["version"].is_string(), "{told}");
}

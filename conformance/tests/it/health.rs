//! GET /health/live, GET /health/ready

use starling_conformance::servers::Kind;

use crate::support;

#[tokio::test]
async fn a_server_that_serves_is_live_and_ready() {
    let server = support::server().await;
    let paths: &[&str] = match server.kind() {
        Kind::Starling => &["/health/live", "/health/ready"],
        Kind::Synapse => &["/health"],
    };
    for path in paths {
        assert_eq!(support::anonymous().await.get(path).await.unwrap().status, 200, "{path}");
    }
}

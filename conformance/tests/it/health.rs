//! GET /health/live, GET /health/ready

use starling_conformance::servers::Kind;

use crate::support;

#[tokio::test]
async fn a_server_that_serves_is_live_and_ready() {
    let server = support::server().await;
    if server.kind() == Kind::Synapse {
        return support::anonymous().await.get("/health").await.map(drop).unwrap();
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(support::anonymous().await.get(path).await.unwrap().status, 200, "{path}");
    }
}

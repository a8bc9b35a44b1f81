//! GET /health/live, GET /health/ready; and the one process that a deployment is.

use starling_conformance::servers::{Kind, starling};

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

#[tokio::test]
async fn a_second_process_on_the_same_data_says_so_in_one_line() {
    let spec = support::spec();
    if spec.kind != Kind::Starling {
        return;
    }
    let server = support::start(spec.clone()).await;
    let mut command = starling::command(&spec, server.directory()).unwrap();
    let second = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("another process"), "{said}");
    assert_eq!(support::anonymous().await.get("/health/ready").await.unwrap().status, 200);
}

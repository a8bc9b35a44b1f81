//! GET /.well-known/matrix/server

use starling_conformance::{client::Api, servers::Kind};

use crate::support;

const PATH: &str = "/.well-known/matrix/server";

#[tokio::test]
async fn announces_the_name_that_the_settings_give() {
    let spec = support::spec().with_setting("FEDERATION__PUBLIC_NAME", "matrix.example.org:443");
    if spec.kind == Kind::Synapse {
        return; // Its settings have other names.
    }
    let server = support::start(spec).await;
    let body = Api::new(&server).unwrap().get(PATH).await.unwrap().ok().unwrap();
    assert_eq!(body["m.server"], "matrix.example.org:443");
}

#[tokio::test]
async fn announces_nothing_without_one() {
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

//! GET /.well-known/matrix/support

use serde_json::json;
use starling_conformance::client::Api;

use crate::support;

const PATH: &str = "/.well-known/matrix/support";

#[tokio::test]
async fn nobody_is_announced_unless_the_settings_name_somebody() {
    let answer = support::anonymous().await.get(PATH).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn whom_to_turn_to_is_announced() {
    let contacts = r#"[{ role = "m.role.admin", matrix_id = "@admin:example.org" },
        { role = "m.role.security", email_address = "security@example.org" }]"#;
    let server = support::server_with(&[
        ("CLIENT__SUPPORT_PAGE", "https://example.org/help"),
        ("CLIENT__SUPPORT_CONTACTS", contacts),
    ])
    .await;
    let answer = Api::new(&server).unwrap().get(PATH).await.unwrap();
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let expected = json!({
        "contacts": [
            { "role": "m.role.admin", "matrix_id": "@admin:example.org" },
            { "role": "m.role.security", "email_address": "security@example.org" },
        ],
        "support_page": "https://example.org/help",
    });
    assert_eq!(answer.ok().unwrap(), expected);
}

//! GET /_matrix/client/v3/admin/whois/{userId}

use starling_conformance::client::{Answer, Api, User, path};

use crate::support;

async fn whois(api: &Api, user: &str) -> Answer {
    api.get(&path("/_matrix/client/v3/admin/whois/{}", &[user])).await.unwrap()
}

#[tokio::test]
async fn users_see_their_own_connections_and_administrators_all() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let request = alice.api.builder(http::Method::GET, "/_matrix/client/v3/account/whoami");
    let answer = request.header("User-Agent", "Client/1.0").send().await.unwrap();
    assert!(answer.status().is_success());
    let seen = whois(&admin.api, &alice.id).await.ok().unwrap();
    assert_eq!(seen["user_id"], alice.id.as_str());
    let connection = &seen["devices"][&alice.device]["sessions"][0]["connections"][0];
    assert_eq!(connection["user_agent"], "Client/1.0");
    assert!(connection["ip"].is_string() && connection["last_seen"].is_i64(), "{seen}");
    let seen = whois(&alice.api, &alice.id).await.ok().unwrap();
    assert!(seen["devices"][&alice.device].is_object(), "{seen}");
}

#[tokio::test]
async fn others_are_refused() {
    let admin = support::admin().await;
    let alice: User = support::user("alice").await;
    for user in [admin.id.as_str(), "@nobody:example.org"] {
        whois(&alice.api, user).await.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let nobody = format!("@nobody-at-all:{}", support::server().await.name());
    whois(&admin.api, &nobody).await.expect_error(404, "M_NOT_FOUND").unwrap();
    assert_eq!(whois(&admin.api, "@nobody:example.org").await.status, 400);
    whois(&admin.api, "nobody").await.expect_error(400, "M_INVALID_PARAM").unwrap();
    let anybody = support::anonymous().await;
    whois(&anybody, &alice.id).await.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

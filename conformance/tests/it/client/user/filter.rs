//! POST /_matrix/client/v3/user/{userId}/filter
//! GET /_matrix/client/v3/user/{userId}/filter/{filterId}

use serde_json::json;
use starling_conformance::client::{path, text};

use crate::support;

#[tokio::test]
async fn a_filter_is_kept_for_its_user() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let target = path("/_matrix/client/v3/user/{}/filter", &[&alice.id]);
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let kept = alice.api.post(&target, filter.clone()).await.unwrap().ok().unwrap();
    let id = text(&kept, "/filter_id").unwrap();
    assert!(!id.starts_with('{'), "{id}");
    let read = alice.api.get(&format!("{target}/{id}")).await.unwrap().ok().unwrap();
    assert_eq!(read["room"]["timeline"]["limit"], 5);
    let unknown = alice.api.get(&format!("{target}/none")).await.unwrap();
    unknown.expect_error(404, "M_NOT_FOUND").unwrap();
    let stranger = bob.api.get(&format!("{target}/{id}")).await.unwrap();
    stranger.expect_error(403, "M_FORBIDDEN").unwrap();
    let stranger = bob.api.post(&target, filter).await.unwrap();
    stranger.expect_error(403, "M_FORBIDDEN").unwrap();
    let wrong = alice.api.post(&target, json!({ "room": 5 })).await.unwrap();
    wrong.expect_error(400, "M_BAD_JSON").unwrap();
}

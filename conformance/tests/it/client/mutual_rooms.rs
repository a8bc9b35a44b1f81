//! GET /_matrix/client/v1/mutual_rooms

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use crate::support;

const STABLE: &str = "/_matrix/client/v1/mutual_rooms";
const OLD: &str = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms";

async fn mutual(user: &User, other: &str) -> Answer {
    user.api.get(&path(&format!("{STABLE}?user_id={{}}"), &[other])).await.unwrap()
}

#[tokio::test]
async fn the_rooms_of_both_are_named() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let shared = alice.create_public_room().await.unwrap();
    let left = alice.create_public_room().await.unwrap();
    alice.create_public_room().await.unwrap();
    for room in [&shared, &left] {
        bob.join(room, &[]).await.unwrap();
    }
    bob.leave(&left).await.unwrap();
    let expected = json!({ "joined": [shared], "count": 1 });
    for (user, other) in [(&alice, &bob), (&bob, &alice)] {
        assert_eq!(mutual(user, &other.id).await.ok().unwrap(), expected);
    }
    let old = path(&format!("{OLD}?user_id={{}}"), &[&bob.id]);
    assert_eq!(alice.api.get(&old).await.unwrap().ok().unwrap(), expected);
    let nothing = json!({ "joined": [], "count": 0 });
    for other in ["@nobody:example.org", &support::user("carol").await.id] {
        assert_eq!(mutual(&alice, other).await.ok().unwrap(), nothing);
    }
}

/// By the names that matrix-js-sdk knows, which were in the proposal.
#[tokio::test]
async fn a_long_list_comes_in_pages_by_the_old_names_too() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let share = async |_| {
        let room = alice.create_public_room().await.unwrap();
        bob.join(&room, &[]).await.unwrap();
        room
    };
    let mut rooms: Vec<String> =
        stream::iter(0..101).map(share).buffer_unordered(8).collect().await;
    rooms.sort();
    let old = path(&format!("{OLD}?user_id={{}}"), &[&bob.id]);
    let first = alice.api.get(&old).await.unwrap().ok().unwrap();
    assert_eq!((&first["joined"], &first["count"]), (&json!(rooms[..100]), &json!(101)));
    assert_eq!(first["next_batch"], first["next_batch_token"]);
    let next = first["next_batch_token"].as_str().unwrap();
    let second = alice.api.get(&format!("{old}&batch_token={next}")).await.unwrap();
    assert_eq!(second.ok().unwrap(), json!({ "joined": rooms[100..], "count": 101 }));
    let stable = path(&format!("{STABLE}?user_id={{}}&from={{}}"), &[&bob.id, next]);
    let second = alice.api.get(&stable).await.unwrap();
    assert_eq!(second.ok().unwrap(), json!({ "joined": rooms[100..], "count": 101 }));
    let first = mutual(&alice, &bob.id).await.ok().unwrap();
    assert!(first["next_batch"].is_string() && first.get("next_batch_token").is_none());
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let alice = support::user("alice").await;
    mutual(&alice, &alice.id).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    mutual(&alice, "nobody").await.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = alice.api.get(STABLE).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let answer = alice.api.get(&format!("{STABLE}?user_id=%40a%3Ab.org&from=x")).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let anybody = support::anonymous().await;
    let answer = anybody.get(&format!("{STABLE}?user_id=%40a%3Ab.org")).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn it_is_advertised() {
    let versions = support::anonymous().await.get("/_matrix/client/versions").await.unwrap();
    let features: Value = versions.ok().unwrap()["unstable_features"].clone();
    for name in ["query_mutual_rooms", "query_mutual_rooms.stable"] {
        assert_eq!(features[format!("uk.half-shot.msc2666.{name}")], true);
    }
}

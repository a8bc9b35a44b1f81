//! GET /_matrix/client/v3/pushrules/global/
//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//! DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions
//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Sync, User, path};

use crate::support;

fn rule(kind: &str, id: &str) -> String {
    path("/_matrix/client/v3/pushrules/global/{}/{}", &[kind, id])
}

async fn put(user: &User, path: &str, body: Value) -> Answer {
    user.api.put(path, body).await.unwrap()
}

async fn get(user: &User, path: &str) -> Answer {
    user.api.get(path).await.unwrap()
}

async fn order(user: &User, kind: &str) -> Vec<String> {
    let rules = get(user, "/_matrix/client/v3/pushrules/global/").await.ok().unwrap();
    let rules = rules[kind].as_array().cloned().unwrap_or_default();
    let own = rules.iter().filter(|rule| rule["default"] == false);
    own.map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rule_lives_and_dies() {
    let alice = support::user("alice").await;
    let path = rule("sender", "@spam:example.org");
    put(&alice, &path, json!({ "actions": ["dont_notify"] })).await.ok().unwrap();
    let wanted = json!({
        "rule_id": "@spam:example.org", "default": false, "enabled": true,
        "actions": ["dont_notify"],
    });
    assert_eq!(get(&alice, &path).await.ok().unwrap(), wanted);
    let (enabled, actions) = (format!("{path}/enabled"), format!("{path}/actions"));
    assert_eq!(get(&alice, &enabled).await.ok().unwrap(), json!({ "enabled": true }));
    put(&alice, &enabled, json!({ "enabled": false })).await.ok().unwrap();
    assert_eq!(get(&alice, &enabled).await.ok().unwrap(), json!({ "enabled": false }));
    put(&alice, &actions, json!({ "actions": ["notify"] })).await.ok().unwrap();
    assert_eq!(get(&alice, &actions).await.ok().unwrap(), json!({ "actions": ["notify"] }));
    put(&alice, &path, json!({ "actions": [] })).await.ok().unwrap();
    let enabled_still = get(&alice, &enabled).await.ok().unwrap();
    assert_eq!(enabled_still, json!({ "enabled": false }), "a new content enables nothing");
    alice.api.delete(&path).await.unwrap().ok().unwrap();
    get(&alice, &path).await.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn rules_have_an_order() {
    let alice = support::user("alice").await;
    for (id, place) in [("a", ""), ("b", ""), ("c", "?after=b"), ("d", "?before=a")] {
        let path = format!("{}{place}", rule("override", id));
        put(&alice, &path, json!({ "actions": [], "conditions": [] })).await.ok().unwrap();
    }
    assert_eq!(order(&alice, "override").await, ["b", "c", "d", "a"]);
    let last_first = format!("{}?before=b", rule("override", "a"));
    put(&alice, &last_first, json!({ "actions": [] })).await.ok().unwrap();
    assert_eq!(order(&alice, "override").await, ["a", "b", "c", "d"]);
    let first_last = format!("{}?after=d", rule("override", "a"));
    put(&alice, &first_last, json!({ "actions": [] })).await.ok().unwrap();
    assert_eq!(order(&alice, "override").await, ["b", "c", "d", "a"]);
}

#[tokio::test]
async fn refusals_of_a_rule() {
    let alice = support::user("alice").await;
    let good = json!({ "actions": ["notify"] });
    for (kind, id, body, errcode) in [
        ("nothing", "a", good.clone(), "M_INVALID_PARAM"),
        ("override", ".a", good.clone(), "M_INVALID_PARAM"),
        ("override", "a/b", good.clone(), "M_INVALID_PARAM"),
        ("override", "a\\b", good.clone(), "M_INVALID_PARAM"),
        ("room", "a", good.clone(), "M_INVALID_PARAM"),
        ("sender", "a", good.clone(), "M_INVALID_PARAM"),
        ("content", "a", good.clone(), "M_MISSING_PARAM"),
        ("override", "a", json!({ "actions": [5] }), "M_BAD_JSON"),
    ] {
        let answer = put(&alice, &rule(kind, id), body).await;
        answer.expect_error(400, errcode).unwrap();
    }
    for place in ["before=missing", "after=missing", "before=.m.rule.master"] {
        let path = format!("{}?{place}", rule("override", "a"));
        put(&alice, &path, good.clone()).await.expect_error(400, "M_UNKNOWN").unwrap();
    }
    let missing = rule("room", "!missing:example.org");
    get(&alice, &missing).await.expect_error(404, "M_NOT_FOUND").unwrap();
    alice.api.delete(&missing).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    for (part, body) in [("enabled", json!({ "enabled": true })), ("actions", good)] {
        let path = format!("{missing}/{part}");
        get(&alice, &path).await.expect_error(404, "M_NOT_FOUND").unwrap();
        put(&alice, &path, body).await.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let predefined = rule("override", ".m.rule.reaction");
    alice.api.delete(&predefined).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn rules_decide_what_is_unread() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let mut say = async |body: &str, mentions: Value| {
        let content = json!({ "msgtype": "m.text", "body": body, "m.mentions": mentions });
        let event = alice.send(&room, "m.room.message", content).await.unwrap();
        let pointer = format!("/rooms/join/{room}/timeline/events/0/event_id");
        let has_it = |answer: &Value| answer.pointer(&pointer).is_some_and(|id| *id == *event);
        let answer = sync.until("the message", has_it).await.unwrap();
        let counts = &answer["rooms"]["join"][&room]["unread_notifications"];
        let count = |name: &str| counts[name].as_i64().unwrap();
        (count("notification_count"), count("highlight_count"))
    };
    assert_eq!(say("hello", json!({})).await, (1, 0), "the count comes with the event");
    assert_eq!(say("hello", json!({ "user_ids": [bob.id] })).await, (2, 1));
    assert_eq!(say("all", json!({ "room": true })).await, (3, 2));
    put(&bob, &rule("room", &room), json!({ "actions": [] })).await.ok().unwrap();
    assert_eq!(say("muted", json!({})).await, (3, 2));
    assert_eq!(say("but for", json!({ "user_ids": [bob.id] })).await, (4, 3));
    let highlight =
        json!({ "pattern": "c?ke", "actions": ["notify", { "set_tweak": "highlight" }] });
    put(&bob, &rule("content", "cake"), highlight).await.ok().unwrap();
    assert_eq!(say("Have some Cake!", json!({})).await, (5, 4));
    assert_eq!(say("cupcakes", json!({})).await, (5, 4));
    let master = format!("{}/enabled", rule("override", ".m.rule.master"));
    put(&bob, &master, json!({ "enabled": true })).await.ok().unwrap();
    assert_eq!(say("cake", json!({ "room": true })).await, (5, 4));
}

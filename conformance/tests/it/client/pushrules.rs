//! GET /_matrix/client/v3/pushrules/

use serde_json::{Value, json};
use starling_conformance::client::{Sync, path};

use crate::support;

mod global;

#[tokio::test]
async fn the_predefined_rules_are_there() {
    let alice = support::user("alice").await;
    let rules = alice.api.get("/_matrix/client/v3/pushrules/").await.unwrap().ok().unwrap();
    let has = |kind: &str, id: &str| {
        let rules = rules["global"][kind].as_array().unwrap();
        rules.iter().any(|rule| rule["rule_id"] == id && rule["default"] == true)
    };
    assert!(has("override", ".m.rule.master"));
    assert!(has("override", ".m.rule.is_user_mention"));
    assert!(has("underride", ".m.rule.message"));
    assert!(has("override", ".org.matrix.msc3930.rule.poll_response"));
    for name in ["start", "start_one_to_one", "end", "end_one_to_one"] {
        assert!(has("underride", &format!(".org.matrix.msc3930.rule.poll_{name}")), "{name}");
    }
    let kind = path("/_matrix/client/v3/user/{}/account_data/m.push_rules", &[&alice.id]);
    assert_eq!(alice.api.get(&kind).await.unwrap().ok().unwrap(), rules);
    let sync = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    assert_eq!(push_rules(&sync), Some(&rules), "the first /sync has them");
}

#[tokio::test]
async fn clients_hear_of_changes() {
    let alice = support::user("alice").await;
    let mut sync = Sync::start(&alice).await.unwrap();
    let rule = "/_matrix/client/v3/pushrules/global/content/cake";
    let body = json!({ "pattern": "cake", "actions": ["notify"] });
    alice.api.put(rule, body).await.unwrap().ok().unwrap();
    let has_it = |answer: &Value| {
        push_rules(answer).is_some_and(|rules| rules["global"]["content"][0]["rule_id"] == "cake")
    };
    sync.until("the new rule", has_it).await.unwrap();
}

#[tokio::test]
async fn nobody_reads_them_without_a_token() {
    let anonymous = support::anonymous().await;
    for path in ["", "global/", "global/override/.m.rule.master"] {
        let answer = anonymous.get(&format!("/_matrix/client/v3/pushrules/{path}")).await.unwrap();
        answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
}

fn push_rules(sync: &Value) -> Option<&Value> {
    let events = sync["account_data"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == "m.push_rules").map(|event| &event["content"])
}

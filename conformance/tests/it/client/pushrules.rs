//! GET /_matrix/client/v3/pushrules/

use crate::support;

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
}

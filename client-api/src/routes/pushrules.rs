//! GET /_matrix/client/v3/pushrules/

use serde_json::json;
use starling_engine::push::rules;

use crate::{
    answer::{self, Answer},
    call::Call,
};

pub(crate) mod global;

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let global = rules::get(&call.engine, &session.user_id).await?;
    answer::json(&json!({ "global": global }))
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn the_predefined_rules_are_there() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let rules = door.get("/_matrix/client/v3/pushrules/", &alice).await.ok();
        let overrides = rules["global"]["override"].as_array().unwrap();
        assert_eq!(overrides[0]["rule_id"], ".m.rule.master");
        let mention = overrides.iter().find(|r| r["rule_id"] == ".m.rule.is_user_mention").unwrap();
        assert_eq!(mention["conditions"][0]["value"], "@alice:test");
        let global = door.get("/_matrix/client/v3/pushrules/global/", &alice).await.ok();
        assert_eq!(global, rules["global"]);
    }
}

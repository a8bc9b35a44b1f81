//! GET /_matrix/client/v3/pushrules/global/
//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//! DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
//! GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions
//! PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions

use ruma::push::{Action, AnyPushRule, AnyPushRuleRef, PushCondition, RuleKind};
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::push::{
    change::{self, NewRule},
    rules,
};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn get_all(call: Call) -> Answer {
    let session = call.authenticated().await?;
    answer::json(&rules::get(&call.engine, &session.user_id).await?)
}

pub(crate) async fn get(call: Call) -> Answer {
    match rule(&call).await? {
        AnyPushRule::Override(rule)
        | AnyPushRule::PostContent(rule)
        | AnyPushRule::Underride(rule) => answer::json(&rule),
        AnyPushRule::Content(rule) => answer::json(&rule),
        AnyPushRule::Room(rule) => answer::json(&rule),
        AnyPushRule::Sender(rule) => answer::json(&rule),
        _ => Err(no_such_rule()),
    }
}

pub(crate) async fn get_enabled(call: Call) -> Answer {
    answer::json(&json!({ "enabled": rule(&call).await?.as_ref().enabled() }))
}

pub(crate) async fn get_actions(call: Call) -> Answer {
    answer::json(&json!({ "actions": rule(&call).await?.as_ref().actions() }))
}

pub(crate) async fn put(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        actions: Vec<Value>,
        #[serde(default)]
        conditions: Vec<PushCondition>,
        pattern: Option<String>,
    }
    #[derive(Deserialize)]
    struct Query {
        before: Option<String>,
        after: Option<String>,
    }
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let kind =
        kind(&call).ok_or_else(|| Error::invalid_param("There are no rules of this kind"))?;
    let Query { before, after } = call.query_as()?;
    let body: Body = call.body_as().await?;
    if kind == RuleKind::Content && body.pattern.is_none() {
        return Err(Error::missing_param("A content rule has a `pattern`"));
    }
    let rule = NewRule {
        kind,
        rule_id: call.path_arg(1).to_owned(),
        actions: actions(body.actions)?,
        conditions: body.conditions,
        pattern: body.pattern.unwrap_or_default(),
        before,
        after,
    };
    change::put(&call.engine, &session.user_id, &rule).await?;
    answer::raw_json("{}")
}

pub(crate) async fn delete(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    change::remove(&call.engine, &session.user_id, &existing_kind(&call)?, call.path_arg(1))
        .await?;
    answer::raw_json("{}")
}

pub(crate) async fn put_enabled(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        enabled: bool,
    }
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let Body { enabled } = call.body_as().await?;
    let (user, kind) = (&session.user_id, existing_kind(&call)?);
    change::set_enabled(&call.engine, user, &kind, call.path_arg(1), enabled).await?;
    answer::raw_json("{}")
}

pub(crate) async fn put_actions(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        actions: Vec<Value>,
    }
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let body: Body = call.body_as().await?;
    let (user, kind, actions) = (&session.user_id, existing_kind(&call)?, actions(body.actions)?);
    change::set_actions(&call.engine, user, &kind, call.path_arg(1), &actions).await?;
    answer::raw_json("{}")
}

/// The rule that the path names.
async fn rule(call: &Call) -> Result<AnyPushRule, Error> {
    let session = call.authenticated().await?;
    let kind = existing_kind(call)?;
    let rules = rules::get(&call.engine, &session.user_id).await?;
    rules.get(kind, call.path_arg(1)).map(AnyPushRuleRef::to_owned).ok_or_else(no_such_rule)
}

/// The kind of a rule that is to exist: of an unknown kind there are none.
fn existing_kind(call: &Call) -> Result<RuleKind, Error> {
    kind(call).ok_or_else(no_such_rule)
}

fn kind(call: &Call) -> Option<RuleKind> {
    match call.path_arg(0) {
        "override" => Some(RuleKind::Override),
        "underride" => Some(RuleKind::Underride),
        "sender" => Some(RuleKind::Sender),
        "room" => Some(RuleKind::Room),
        "content" => Some(RuleKind::Content),
        // As it is named in the rules, and as some libraries name it in paths.
        "postcontent" | "io.element.msc4306.postcontent" => {
            call.engine.config.push.follow_threads.then_some(RuleKind::PostContent)
        }
        _ => None,
    }
}

/// Actions as they were sent. Those of old versions of the specification are kept for the clients that
/// set them, and mean nothing.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#historical-actions>
fn actions(actions: Vec<Value>) -> Result<Vec<Action>, Error> {
    let bad = |_| Error::bad_json("An action is malformed");
    actions.into_iter().map(|action| serde_json::from_value(action).map_err(bad)).collect()
}

fn no_such_rule() -> Error {
    Error::not_found("There is no such push rule")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    const RULES: &str = "/_matrix/client/v3/pushrules/global";

    #[tokio::test]
    async fn rules_are_set_read_and_removed() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let path = format!("{RULES}/content/cake");
        let body = json!({ "pattern": "cake", "actions": ["notify", "dont_notify"] });
        door.put(&path, &alice, body).await.ok();
        let wanted = json!({
            "rule_id": "cake", "default": false, "enabled": true,
            "pattern": "cake", "actions": ["notify", "dont_notify"],
        });
        assert_eq!(door.get(&path, &alice).await.ok(), wanted);
        let (enabled, actions) = (format!("{path}/enabled"), format!("{path}/actions"));
        door.put(&enabled, &alice, json!({ "enabled": false })).await.ok();
        assert_eq!(door.get(&enabled, &alice).await.ok(), json!({ "enabled": false }));
        let tweak = json!({ "set_tweak": "sound", "value": "bell" });
        door.put(&actions, &alice, json!({ "actions": [tweak] })).await.ok();
        assert_eq!(door.get(&actions, &alice).await.ok(), json!({ "actions": [tweak] }));
        door.delete(&path, &alice, json!({})).await.ok();
        for path in [&path, &enabled, &actions] {
            door.get(path, &alice).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        }
    }

    #[tokio::test]
    async fn actions_that_mean_nothing_are_given_back_as_they_were_written() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let odd = json!(["dont_notify", "coalesce", "org.example.dance", { "org.example": [1] }]);
        let path = format!("{RULES}/sender/@bob:test");
        door.put(&path, &alice, json!({ "actions": odd })).await.ok();
        for _ in 0..2 {
            assert_eq!(door.get(&path, &alice).await.ok()["actions"], odd);
        }
        let all = door.get(&format!("{RULES}/"), &alice).await.ok();
        assert_eq!(all["sender"][0]["actions"], odd);
        let actions = format!("{path}/actions");
        door.put(&actions, &alice, json!({ "actions": ["coalesce", "notify"] })).await.ok();
        let now = door.get(&actions, &alice).await.ok();
        assert_eq!(now, json!({ "actions": ["coalesce", "notify"] }));
    }

    #[tokio::test]
    async fn what_is_no_rule_is_refused() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let good = json!({ "actions": [], "pattern": "x" });
        for (path, body, errcode) in [
            ("nothing/a", good.clone(), "M_INVALID_PARAM"),
            ("override/.dot", good.clone(), "M_INVALID_PARAM"),
            ("override/a%2Fb", good.clone(), "M_INVALID_PARAM"),
            ("override/a%5Cb", good.clone(), "M_INVALID_PARAM"),
            ("room/not-a-room", good.clone(), "M_INVALID_PARAM"),
            ("sender/not-a-user", good.clone(), "M_INVALID_PARAM"),
            ("override/a?before=.m.rule.master", good.clone(), "M_UNKNOWN"),
            ("override/a?after=missing", good.clone(), "M_UNKNOWN"),
            ("content/a", json!({ "actions": [] }), "M_MISSING_PARAM"),
            ("override/a", json!({ "actions": [{ "set_tweak": 5 }] }), "M_BAD_JSON"),
        ] {
            let answer = door.put(&format!("{RULES}/{path}"), &alice, body).await;
            answer.refused(StatusCode::BAD_REQUEST, errcode);
        }
        let long = json!({ "actions": [], "pattern": "x".repeat(600) });
        let answer = door.put(&format!("{RULES}/content/a"), &alice, long).await;
        answer.refused(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE");
        let answer = door.delete(&format!("{RULES}/content/a"), &alice, json!({})).await;
        answer.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let predefined = format!("{RULES}/override/.m.rule.reaction");
        let answer = door.delete(&predefined, &alice, json!({})).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
        for (part, body) in [("enabled", json!({ "enabled": true })), ("actions", good)] {
            for rule in ["room/!no:test", "nothing/a"] {
                let path = format!("{RULES}/{rule}/{part}");
                let answer = door.put(&path, &alice, body.clone()).await;
                answer.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
                door.get(&path, &alice).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
            }
        }
        for rule in ["nothing/a", "room/!no:test"] {
            let path = format!("{RULES}/{rule}");
            door.get(&path, &alice).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
            let answer = door.delete(&path, &alice, json!({})).await;
            answer.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        }
    }
}

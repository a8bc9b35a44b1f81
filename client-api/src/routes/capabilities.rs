//! GET /_matrix/client/v3/capabilities

use serde_json::{Map, Value, json};
use starling_engine::rooms::versions;

use crate::{
    answer::{self, Answer},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let stable = versions::SUPPORTED.iter().map(|version| (version.as_str(), "stable"));
    let all = stable.chain(versions::UNSTABLE.map(|version| (version, "unstable")));
    let room_versions: Map<_, _> =
        all.map(|(version, how)| (version.to_owned(), Value::from(how))).collect();
    let login_tokens = json!({ "enabled": call.door.settings.login_tokens });
    let mut capabilities = json!({
        "m.room_versions": {
            "default": call.engine.config.default_room_version,
            "available": room_versions,
        },
        "m.forget_forced_upon_leave": { "enabled": call.engine.config.forget_upon_leave },
        "m.change_password": { "enabled": true },
        "m.profile_fields": { "enabled": true },
        "uk.tcpip.msc4133.profile_fields": { "enabled": true },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.3pid_changes": { "enabled": call.engine.config.email.is_some() },
        "m.get_login_token": login_tokens,
        "org.matrix.msc3882.get_login_token": login_tokens,
    });
    let delays = call.engine.config.delayed_events;
    if delays.enabled {
        capabilities["org.matrix.msc4140.delayed_events"] =
            json!({ "max_delay_ms": delays.longest_ms, "max_scheduled": delays.most_per_user });
    }
    if session.is_admin() && !session.is_suspended() {
        capabilities["m.account_moderation"] = json!({ "suspend": true, "lock": true });
    }
    answer::json(&json!({ "capabilities": capabilities }))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;
    use starling_engine::admin::users::{self, Right};

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn an_administrator_who_is_suspended_moderates_nobody() {
        let door = TestDoor::new().await;
        let (root, alice) = (door.user("root").await, door.user("alice").await);
        let set = async |right, value| {
            users::set(door.engine(), None, &root.user_id, right, value).await.unwrap();
        };
        let may_moderate = async || {
            let answer = door.get("/_matrix/client/v3/capabilities", &root).await.ok();
            answer["capabilities"]["m.account_moderation"].is_object()
        };
        set(Right::Admin, true).await;
        assert!(may_moderate().await);
        set(Right::Suspended, true).await;
        assert!(!may_moderate().await);
        for path in ["v1/admin/lock", "v1/admin/suspend", "v3/admin/whois"] {
            let path = format!("/_matrix/client/{path}/{}", alice.user_id);
            let answer = door.get(&path, &root).await;
            answer.refused(StatusCode::FORBIDDEN, "M_USER_SUSPENDED");
        }
        let own = format!("/_matrix/client/v3/admin/whois/{}", root.user_id);
        door.get(&own, &root).await.ok();
        let path = format!("/_matrix/client/v1/admin/lock/{}", alice.user_id);
        let answer = door.put(&path, &root, json!({ "locked": true })).await;
        answer.refused(StatusCode::FORBIDDEN, "M_USER_SUSPENDED");
    }

    #[tokio::test]
    async fn names_the_room_versions() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let answer = door.get("/_matrix/client/v3/capabilities", &alice).await;
        let versions = &answer.body["capabilities"]["m.room_versions"];
        assert_eq!(versions["default"], "12");
        assert_eq!(versions["available"].as_object().unwrap().len(), 14);
        assert_eq!(versions["available"]["org.matrix.msc3757.11"], "unstable");
    }
}

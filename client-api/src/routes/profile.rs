//! GET /_matrix/client/v3/profile/{userId}
//! GET /_matrix/client/v3/profile/{userId}/{keyName}
//! PUT /_matrix/client/v3/profile/{userId}/{keyName}
//! DELETE /_matrix/client/v3/profile/{userId}/{keyName}
//! GET /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}
//! PUT /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}
//! DELETE /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};
use starling_engine::accounts::profiles;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) async fn get_all(call: Call) -> Answer {
    let user: OwnedUserId = call.path_id(0)?;
    let profile = look_up(&call, &user).await?;
    answer::json(&*profile)
}

pub(crate) async fn get(call: Call) -> Answer {
    let user: OwnedUserId = call.path_id(0)?;
    let field = call.path_arg(1);
    let profile = look_up(&call, &user).await?;
    match profile.get(field) {
        Some(value) => answer::json(&json!({ (field): value })),
        // Old clients take an unset name or avatar for an error when it is one.
        None if matches!(field, "displayname" | "avatar_url") => answer::json(&json!({})),
        None => Err(Error::not_found("The user has no such field")),
    }
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let user = own(&call).await?;
    let mut body: Map<String, Value> = call.body_as().await?;
    let field = call.path_arg(1);
    let Some(value) = body.remove(field) else {
        return Err(Error::missing_param("The body has no property of the field's name"));
    };
    profiles::set_field(&call.engine, &user, field, value).await?;
    answer::json(&json!({}))
}

pub(crate) async fn delete(mut call: Call) -> Answer {
    let user = own(&call).await?;
    // There is nothing to say in a body, but one that is no request is refused as any other.
    call.json_body().await?;
    profiles::remove_field(&call.engine, &user, call.path_arg(1)).await?;
    answer::json(&json!({}))
}

/// Anybody may ask, and for users of other servers those are asked: not without limit.
async fn look_up(call: &Call, user: &UserId) -> Result<std::sync::Arc<profiles::Profile>, Error> {
    let session = call.maybe_guest().await?;
    if user.server_name() != call.engine.config.server_name {
        call.door.limits.address(Doing::Asking, call.client_ip())?;
    }
    let asker = session.as_ref().map(|session| &*session.user_id);
    Ok(profiles::get(&call.engine, asker, user).await?)
}

/// The user of the path, who must be the one who asks.
async fn own(call: &Call) -> Result<OwnedUserId, Error> {
    let session = call.authenticated_or_guest_to_act().await?;
    if session.is_guest() && call.path_arg(1) != "displayname" {
        return Err(Error::guest_access_forbidden("Guests set nothing but their display name"));
    }
    let user: OwnedUserId = call.path_id(0)?;
    if user != session.user_id {
        return Err(Error::forbidden("This is not your profile"));
    }
    call.limit(Doing::Account, &session)?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;
    use starling_engine::allowance::Allowance;

    use crate::{Allowances, Settings, testing::TestDoor};

    const ALICE: &str = "/_matrix/client/v3/profile/@alice:test";

    #[tokio::test]
    async fn fields_are_set_read_and_removed() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        assert_eq!(door.get_anonymous(ALICE).await.ok(), json!({}));
        let field = |name: &str| format!("{ALICE}/{name}");
        for (name, value) in [
            ("displayname", json!("Alice")),
            ("avatar_url", json!("mxc://test/a")),
            ("m.tz", json!("Europe/Rome")),
            ("org.example.x", json!({ "deep": [1, null] })),
        ] {
            door.put(&field(name), &alice, json!({ (name): value })).await.ok();
            assert_eq!(door.get_anonymous(&field(name)).await.ok(), json!({ (name): value }));
        }
        assert_eq!(door.get_anonymous(ALICE).await.ok().as_object().unwrap().len(), 4);
        door.delete(&field("org.example.x"), &alice, json!({})).await.ok();
        door.delete(&field("org.example.x"), &alice, json!({})).await.ok();
        let answer = door.get_anonymous(&field("org.example.x")).await;
        answer.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
    }

    #[tokio::test]
    async fn nobody_reads_profiles_without_limit() {
        let allowances = Allowances { requests: Allowance::new(2, 1), ..Allowances::default() };
        let settings = Settings { rate_limits: true, allowances, ..Settings::default() };
        let door = TestDoor::with(settings).await;
        let alice = door.user("alice").await;
        for _ in 0..2 {
            door.get_anonymous(ALICE).await.ok();
            door.get(ALICE, &alice).await.ok();
        }
        for answer in [door.get_anonymous(ALICE).await, door.get(ALICE, &alice).await] {
            answer.refused(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED");
        }
    }

    #[tokio::test]
    async fn malformed_fields_are_refused() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let long = "a".repeat(256);
        for (name, body, errcode) in [
            ("displayname", json!({ "avatar_url": "x" }), "M_MISSING_PARAM"),
            ("displayname", json!({ "displayname": 5 }), "M_BAD_JSON"),
            ("No", json!({ "No": 5 }), "M_INVALID_PARAM"),
            (&*long, json!({ (&*long): 5 }), "M_KEY_TOO_LARGE"),
            ("org.big", json!({ "org.big": "x".repeat(65_536) }), "M_PROFILE_TOO_LARGE"),
        ] {
            let answer = door.put(&format!("{ALICE}/{name}"), &alice, body).await;
            answer.refused(StatusCode::BAD_REQUEST, errcode);
        }
        let path = "/_matrix/client/v3/profile/alice";
        door.get_anonymous(path).await.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    }

    #[tokio::test]
    async fn a_profile_is_its_users_own() {
        let door = TestDoor::new().await;
        let (_alice, bob) = (door.user("alice").await, door.user("bob").await);
        let path = format!("{ALICE}/displayname");
        let answer = door.put(&path, &bob, json!({ "displayname": "x" })).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.delete(&path, &bob, json!({})).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let answer = door.send_bytes(Method::PUT, &path, None, "{}").await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN");
    }

    #[tokio::test]
    async fn users_who_do_not_exist_have_none() {
        let door = TestDoor::new().await;
        let answer = door.get_anonymous("/_matrix/client/v3/profile/@nobody:test").await;
        answer.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let answer = door.get_anonymous("/_matrix/client/v3/profile/@bob:elsewhere").await;
        answer.refused(StatusCode::BAD_GATEWAY, "M_UNKNOWN");
    }
}

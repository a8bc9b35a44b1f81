//! GET /_matrix/client/v3/devices
//! GET /_matrix/client/v3/devices/{deviceId}
//! PUT /_matrix/client/v3/devices/{deviceId}
//! DELETE /_matrix/client/v3/devices/{deviceId}

use http::StatusCode;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedDeviceId, UInt,
    api::client::device::{Device, delete_device, get_device, get_devices, update_device},
};
use serde_json::json;
use starling_engine::accounts::devices;

use crate::{
    answer::{self, Answer, answer},
    call::Call,
    error::Error,
    limits::Doing,
    uia,
};

pub(crate) async fn get_all(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let rows = devices::list(&call.engine, &session.user_id).await?;
    answer(get_devices::v3::Response::new(rows.into_iter().map(device).collect()))
}

pub(crate) async fn get(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let request: get_device::v3::Request = call.parse().await?;
    let row = devices::get(&call.engine, &session.user_id, &request.device_id).await?;
    let row = row.ok_or_else(|| Error::not_found("There is no such device"))?;
    answer(get_device::v3::Response::new(device(row)))
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    call.limit(Doing::Account, &session)?;
    let request: update_device::v3::Request = call.parse().await?;
    let (user, device, name) = (&session.user_id, &request.device_id, request.display_name);
    if session.appservice.is_none() {
        devices::rename(&call.engine, user, device, name).await?;
        return answer(update_device::v3::Response::new());
    }
    match devices::name_or_make(&call.engine, user, device, name).await? {
        true => answer::json_with(StatusCode::CREATED, &json!({})),
        false => answer(update_device::v3::Response::new()),
    }
}

pub(crate) async fn delete(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    let device = OwnedDeviceId::from(call.path_arg(0));
    let user = &session.user_id;
    call.limit(Doing::Account, &session)?;
    let action = format!("{}{device}", uia::DELETE_DEVICE);
    let proof = uia::of_session(&mut call, &action, &session, uia::PASSWORD).await?;
    devices::remove(&call.engine, user, &[device], &proof).await?;
    answer(delete_device::v3::Response::new())
}

fn device(row: devices::DeviceRow) -> Device {
    let mut device = Device::new(row.device_id.into());
    device.display_name = row.display_name;
    device.last_seen_ip = row.last_seen_ip;
    let ts = row.last_seen_ts.and_then(|ts| UInt::try_from(ts).ok());
    device.last_seen_ts = ts.map(MilliSecondsSinceUnixEpoch);
    device
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};
    use starling_engine::allowance::Allowance;

    use crate::{
        Allowances, Settings,
        testing::{TestDoor, TestUser},
    };

    const DEVICES: &str = "/_matrix/client/v3/devices";
    const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

    async fn log_in(door: &TestDoor, user: &str) -> TestUser {
        let body = json!({ "type": "m.login.password", "user": user, "password": "secret" });
        TestUser::from_answer(&door.post_anonymous("/_matrix/client/v3/login", body).await.ok())
    }

    fn password(user: &str, session: &Value) -> Value {
        let identifier = json!({ "type": "m.id.user", "user": user });
        json!({ "type": "m.login.password", "identifier": identifier, "password": "secret",
                "session": session })
    }

    #[tokio::test]
    async fn devices_are_listed_named_and_seen() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let bob = door.register("bob").await;
        let path = format!("{DEVICES}/{}", alice.device_id);
        door.put(&path, &alice, json!({ "display_name": "desk" })).await.ok();
        let device = door.get(&path, &alice).await.ok();
        assert_eq!(device["display_name"], "desk");
        assert_eq!(device["last_seen_ts"], starling_engine::testing::START_MS);
        door.get(&path, &bob).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let answer = door.put(&path, &bob, json!({ "display_name": "mine" })).await;
        answer.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let answer = door.put(&path, &alice, json!({ "display_name": "x".repeat(256) })).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    }

    #[tokio::test]
    async fn a_device_goes_with_its_tokens_when_the_password_is_given() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let other = log_in(&door, "alice").await;
        let path = format!("{DEVICES}/{}", other.device_id);
        let wanted = door.delete(&path, &alice, json!({})).await;
        assert_eq!(wanted.status, StatusCode::UNAUTHORIZED);
        let auth = password("alice", &wanted.body["session"]);
        let mut wrong = auth.clone();
        wrong["password"] = json!("x");
        let answer = door.delete(&path, &alice, json!({ "auth": wrong })).await;
        answer.refused(StatusCode::UNAUTHORIZED, "M_FORBIDDEN");
        assert_eq!(answer.body["session"], wanted.body["session"]);
        door.delete(&path, &alice, json!({ "auth": auth })).await.ok();
        door.get(WHOAMI, &other).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        door.get(WHOAMI, &alice).await.ok();
    }

    #[tokio::test]
    async fn what_changes_an_account_has_an_allowance() {
        let allowances = Allowances { account: Allowance::new(4, 1), ..Allowances::default() };
        let settings = Settings { rate_limits: true, allowances, ..Settings::default() };
        let door = TestDoor::with(settings).await;
        let alice = door.user("alice").await;
        let device = format!("{DEVICES}/DEVICE");
        let all = async || {
            [
                door.put(&device, &alice, json!({ "display_name": "a" })).await,
                door.delete(&device, &alice, json!({})).await,
                door.post("/_matrix/client/v3/delete_devices", &alice, json!({})).await,
                door.post("/_matrix/client/v3/account/password", &alice, json!({})).await,
                door.post("/_matrix/client/v3/account/deactivate", &alice, json!({})).await,
            ]
        };
        let statuses = all().await.map(|answer| answer.status.as_u16());
        assert_eq!(statuses, [200, 401, 401, 401, 429]);
        for answer in all().await {
            answer.refused(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED");
        }
        for path in ["password", "deactivate"].iter().cycle().take(4) {
            let path = format!("/_matrix/client/v3/account/{path}");
            assert_eq!(door.post_anonymous(&path, json!({})).await.status, 401);
        }
        for path in ["password", "deactivate"] {
            let path = format!("/_matrix/client/v3/account/{path}");
            let answer = door.post_anonymous(&path, json!({})).await;
            answer.refused(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED");
        }
    }

    #[tokio::test]
    async fn a_session_is_for_one_operation_of_one_user() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let bob = door.register("bob").await;
        let other = log_in(&door, "alice").await;
        let path = format!("{DEVICES}/{}", other.device_id);
        let session = door.delete(&path, &alice, json!({})).await.body["session"].clone();
        let own = format!("{DEVICES}/{}", alice.device_id);
        let body = json!({ "auth": password("alice", &session) });
        let answer = door.delete(&own, &alice, body.clone()).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let body_of_bob = json!({ "auth": password("bob", &session) });
        door.delete(&path, &bob, body_of_bob).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let answer = door.delete(&path, &alice, json!({ "auth": password("bob", &session) })).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.delete(&path, &alice, body).await.ok();
    }

    #[tokio::test]
    async fn a_session_does_not_pass_to_another_list_of_devices() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let (second, third) = (log_in(&door, "alice").await, log_in(&door, "alice").await);
        let path = "/_matrix/client/v3/delete_devices";
        let body = json!({ "devices": [second.device_id] });
        let session = door.post(path, &alice, body.clone()).await.body["session"].clone();
        let auth = password("alice", &session);
        let changed = json!({ "devices": [third.device_id], "auth": auth });
        door.post(path, &alice, changed).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.post(path, &alice, json!({ "auth": auth })).await.ok();
        door.get(WHOAMI, &second).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        door.get(WHOAMI, &third).await.ok();
        let answer = door.post(path, &alice, json!({ "auth": auth })).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_MISSING_PARAM");
    }

    #[tokio::test]
    async fn logging_out_ends_one_session_or_all() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let (second, third) = (log_in(&door, "alice").await, log_in(&door, "alice").await);
        door.post("/_matrix/client/v3/logout", &second, json!({})).await.ok();
        door.get(WHOAMI, &second).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        door.get(WHOAMI, &alice).await.ok();
        door.post("/_matrix/client/v3/logout/all", &third, json!({})).await.ok();
        door.get(WHOAMI, &alice).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
        door.get(WHOAMI, &third).await.refused(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN");
    }
}

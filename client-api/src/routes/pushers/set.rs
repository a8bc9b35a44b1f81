//! POST /_matrix/client/v3/pushers/set

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use starling_engine::pushers::set::{self, NewPusher};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Body {
    app_id: Option<String>,
    pushkey: Option<String>,
    /// `None`: it is not there; `Some(None)`: it is null.
    #[serde(default, deserialize_with = "present")]
    kind: Option<Option<String>>,
    app_display_name: Option<String>,
    device_display_name: Option<String>,
    profile_tag: Option<String>,
    lang: Option<String>,
    data: Option<Box<RawValue>>,
    #[serde(rename = "org.matrix.msc3881.enabled")]
    enabled: Option<bool>,
    #[serde(default)]
    append: bool,
}

fn present<'de, D: Deserializer<'de>>(kind: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(kind).map(Some)
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let body: Body = call.body_as().await?;
    let app_id = body.app_id.ok_or_else(|| missing("app_id"))?;
    let pushkey = body.pushkey.ok_or_else(|| missing("pushkey"))?;
    let Some(kind) = body.kind.ok_or_else(|| missing("kind"))? else {
        set::remove(&call.engine, &session.user_id, app_id, pushkey).await?;
        return answer::raw_json("{}");
    };
    let data = body.data.ok_or_else(|| missing("data"))?;
    if !data.get().starts_with('{') {
        return Err(Error::bad_json("`data` is not an object"));
    }
    let new = NewPusher {
        app_id,
        pushkey,
        kind,
        app_display_name: body.app_display_name.ok_or_else(|| missing("app_display_name"))?,
        device_display_name: body
            .device_display_name
            .ok_or_else(|| missing("device_display_name"))?,
        profile_tag: body.profile_tag,
        lang: body.lang.ok_or_else(|| missing("lang"))?,
        data: data.get().to_owned(),
        enabled: body.enabled.unwrap_or(true),
        append: body.append,
    };
    set::set(&call.engine, &session, new).await?;
    answer::raw_json("{}")
}

fn missing(name: &str) -> Error {
    Error::missing_param(format!("`{name}` is missing"))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use crate::testing::TestDoor;

    const SET: &str = "/_matrix/client/v3/pushers/set";
    const LIST: &str = "/_matrix/client/v3/pushers";

    fn pusher() -> Value {
        json!({
            "app_id": "org.example.app",
            "pushkey": "key",
            "kind": "http",
            "app_display_name": "Example",
            "device_display_name": "Telephone",
            "lang": "en",
            "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "a": [1.5] },
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut body = pusher();
        body[key] = value;
        body
    }

    #[tokio::test]
    async fn pushers_come_change_and_go() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let list = async |user| door.get(LIST, user).await.ok()["pushers"].clone();
        assert_eq!(list(&alice).await, json!([]));
        door.post(SET, &alice, with("profile_tag", json!("tag"))).await.ok();
        let mut shown = with("profile_tag", json!("tag"));
        shown["org.matrix.msc3881.enabled"] = json!(true);
        shown["org.matrix.msc3881.device_id"] =
            list(&alice).await[0]["org.matrix.msc3881.device_id"].clone();
        assert_eq!(list(&alice).await, json!([shown]));
        door.post(SET, &alice, with("org.matrix.msc3881.enabled", json!(false))).await.ok();
        assert_eq!(list(&alice).await[0]["org.matrix.msc3881.enabled"], false);
        assert!(list(&alice).await[0].get("profile_tag").is_none());
        door.post(SET, &bob, with("append", json!(true))).await.ok();
        assert_eq!(list(&alice).await.as_array().unwrap().len(), 1, "both have it");
        door.post(SET, &bob, pusher()).await.ok();
        assert_eq!(list(&alice).await, json!([]), "the pushkey is Bob's");
        door.post(SET, &bob, with("pushkey", json!("another"))).await.ok();
        assert_eq!(list(&bob).await.as_array().unwrap().len(), 2);
        let gone = json!({ "app_id": "org.example.app", "pushkey": "key", "kind": null });
        door.post(SET, &alice, gone.clone()).await.ok();
        assert_eq!(
            list(&bob).await.as_array().unwrap().len(),
            2,
            "Alice removes only what is hers"
        );
        door.post(SET, &bob, gone.clone()).await.ok();
        door.post(SET, &bob, gone).await.ok();
        assert_eq!(list(&bob).await[0]["pushkey"], "another");
    }

    #[tokio::test]
    async fn what_is_no_pusher_is_refused() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let url = |url: &str| with("data", json!({ "url": url }));
        let without = |key: &str| {
            let mut body = pusher();
            body.as_object_mut().unwrap().remove(key);
            body
        };
        for (body, errcode) in [
            (without("app_id"), "M_MISSING_PARAM"),
            (without("pushkey"), "M_MISSING_PARAM"),
            (without("kind"), "M_MISSING_PARAM"),
            (without("app_display_name"), "M_MISSING_PARAM"),
            (without("device_display_name"), "M_MISSING_PARAM"),
            (without("lang"), "M_MISSING_PARAM"),
            (without("data"), "M_MISSING_PARAM"),
            (with("data", json!({})), "M_MISSING_PARAM"),
            (with("data", json!([])), "M_BAD_JSON"),
            (with("kind", json!(5)), "M_BAD_JSON"),
            (with("data", json!({ "url": 5 })), "M_INVALID_PARAM"),
            (with("kind", json!("pigeon")), "M_INVALID_PARAM"),
            (with("app_id", json!("x".repeat(65))), "M_INVALID_PARAM"),
            (with("app_id", json!("")), "M_INVALID_PARAM"),
            (with("pushkey", json!("x".repeat(513))), "M_INVALID_PARAM"),
            (with("pushkey", json!("")), "M_INVALID_PARAM"),
            (with("lang", json!("x".repeat(513))), "M_INVALID_PARAM"),
            (with("data", json!({ "x": "x".repeat(9_000) })), "M_INVALID_PARAM"),
            (url("push.example.org"), "M_INVALID_PARAM"),
            (url("https://push.example.org/notify"), "M_INVALID_PARAM"),
            (url("https://push.example.org/_matrix/push/v1/notify/"), "M_INVALID_PARAM"),
            (url("http://push.example.org/_matrix/push/v1/notify"), "M_INVALID_PARAM"),
            (url("https://me@push.example.org/_matrix/push/v1/notify"), "M_INVALID_PARAM"),
            (url("file:///_matrix/push/v1/notify"), "M_INVALID_PARAM"),
        ] {
            let answer = door.post(SET, &alice, body).await;
            answer.refused(StatusCode::BAD_REQUEST, errcode);
        }
        door.post(SET, &alice, url("https://push.example.org/a/_matrix/push/v1/notify?b=c"))
            .await
            .ok();
    }

    #[tokio::test]
    async fn nobody_has_any_number_of_them() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        for number in 0..100 {
            door.post(SET, &alice, with("pushkey", json!(number.to_string()))).await.ok();
        }
        let answer = door.post(SET, &alice, pusher()).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.post(SET, &alice, with("pushkey", json!("7"))).await.ok();
    }
}

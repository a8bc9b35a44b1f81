//! GET /_matrix/client/v3/user/{userId}/account_data/{type}
//! PUT /_matrix/client/v3/user/{userId}/account_data/{type}
//! DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}

use starling_engine::accounts::data;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let found = data::get(&call.engine, &user, None, call.path_arg(1)).await?;
    let found = found.ok_or_else(|| Error::not_found("There is no such account data"))?;
    answer::json(&found)
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let content = call.content().await?.get().to_owned();
    data::set(&call.engine, &user, None, call.path_arg(1), content).await?;
    answer::raw_json("{}")
}

pub(crate) async fn delete(call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    data::remove(&call.engine, &user, None, call.path_arg(1)).await?;
    answer::raw_json("{}")
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use crate::testing::TestDoor;

    const DATA: &str = "/_matrix/client/v3/user/@alice:test/account_data";

    #[tokio::test]
    async fn account_data_are_kept_as_they_were_sent() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let path = format!("{DATA}/org.example.a%2Fb");
        door.get(&path, &alice).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        let content = json!({ "float": 1.5, "big": 9_007_199_254_740_993_i64, "nothing": null });
        door.put(&path, &alice, content.clone()).await.ok();
        assert_eq!(door.get(&path, &alice).await.ok(), content);
    }

    #[tokio::test]
    async fn what_is_not_an_object_or_not_theirs_is_refused() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let path = format!("{DATA}/m.direct");
        for (body, errcode) in [("[]", "M_BAD_JSON"), ("null", "M_BAD_JSON"), ("{", "M_NOT_JSON")] {
            let answer = door.send_bytes(Method::PUT, &path, Some(&alice), body).await;
            answer.refused(StatusCode::BAD_REQUEST, errcode);
        }
        let answer = door.put(&path, &bob, json!({})).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.get(&path, &bob).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        for kind in ["m.fully_read", "m.push_rules"] {
            let answer = door.put(&format!("{DATA}/{kind}"), &alice, json!({})).await;
            answer.refused(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON");
        }
        let long = format!("{DATA}/{}", "a".repeat(256));
        let answer = door.put(&long, &alice, json!({})).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    }
}

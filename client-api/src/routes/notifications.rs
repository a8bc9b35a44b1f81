//! GET /_matrix/client/v3/notifications

use serde::Deserialize;
use starling_engine::reading::{
    access::Asking,
    notifications::{self, PageRequest},
};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Query {
        from: Option<String>,
        limit: Option<u64>,
        only: Option<String>,
    }
    let session = call.authenticated().await?;
    let Query { from, limit, only } = call.query_as()?;
    let before = from.map(|from| from.parse::<i64>()).transpose();
    let before = before.map_err(|_| Error::invalid_param("`from` is not a token of this list"))?;
    let request =
        PageRequest { before, limit, highlights_only: only.as_deref() == Some("highlight") };
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    answer::json(&notifications::page(&call.engine, asking, request).await?)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    const PATH: &str = "/_matrix/client/v3/notifications";

    #[tokio::test]
    async fn notifications_come_in_pages() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let room = door.room(&alice, json!({ "invite": [bob.user_id] })).await;
        door.post(&format!("/_matrix/client/v3/join/{room}"), &bob, json!({})).await.ok();
        for (number, mentions) in [(1, json!({})), (2, json!({ "user_ids": [bob.user_id] }))] {
            let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{number}");
            let body =
                json!({ "msgtype": "m.text", "body": number.to_string(), "m.mentions": mentions });
            door.put(&path, &alice, body).await.ok();
        }
        let page = door.get(&format!("{PATH}?limit=1"), &bob).await.ok();
        let newest = &page["notifications"][0];
        assert_eq!(newest["event"]["content"]["body"], "2");
        assert_eq!((&newest["read"], &newest["room_id"]), (&json!(false), &json!(room)));
        assert!(newest["actions"].as_array().unwrap().contains(&json!("notify")));
        let next = page["next_token"].as_str().unwrap();
        let page = door.get(&format!("{PATH}?from={next}"), &bob).await.ok();
        let bodies: Vec<_> = page["notifications"].as_array().unwrap().iter().collect();
        assert_eq!(bodies[0]["event"]["content"]["body"], "1");
        assert_eq!(bodies[1]["event"]["content"]["membership"], "invite");
        assert_eq!(bodies[1]["read"], true, "who joins has read it");
        assert_eq!(bodies.len(), 2);
        let page = door.get(&format!("{PATH}?only=highlight"), &bob).await.ok();
        assert_eq!(page["notifications"].as_array().unwrap().len(), 1);
        let page = door.get(PATH, &alice).await.ok();
        assert_eq!(page["notifications"], json!([]), "nobody is notified by themselves");
        let answer = door.get(&format!("{PATH}?from=x"), &bob).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
    }
}

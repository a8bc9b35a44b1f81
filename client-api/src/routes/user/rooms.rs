//! GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}
//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}
//! DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}
//! GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags
//! PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}
//! DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}

use ruma::OwnedRoomId;
use serde_json::{Map, Value, json};
use starling_engine::accounts::data;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) async fn get_account_data(call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let room: OwnedRoomId = call.path_id(1)?;
    let found = data::get(&call.engine, &user, Some(&room), call.path_arg(2)).await?;
    let found = found.ok_or_else(|| Error::not_found("There is no such account data"))?;
    answer::json(&found)
}

pub(crate) async fn put_account_data(mut call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let room: OwnedRoomId = call.path_id(1)?;
    let content = call.content().await?.get().to_owned();
    data::set(&call.engine, &user, Some(&room), call.path_arg(2), content).await?;
    answer::raw_json("{}")
}

pub(crate) async fn delete_account_data(call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let room: OwnedRoomId = call.path_id(1)?;
    data::remove(&call.engine, &user, Some(&room), call.path_arg(2)).await?;
    answer::raw_json("{}")
}

pub(crate) async fn get_tags(call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let room: OwnedRoomId = call.path_id(1)?;
    let tags = data::tags(&call.engine, &user, &room).await?;
    answer::json(&json!({ "tags": tags }))
}

pub(crate) async fn put_tag(mut call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let room: OwnedRoomId = call.path_id(1)?;
    let value: Map<String, Value> = call.body_as().await?;
    if value.get("order").is_some_and(|order| !order.is_number()) {
        return Err(Error::bad_json("The order is not a number"));
    }
    data::set_tag(&call.engine, &user, &room, call.path_arg(2), Some(value.into())).await?;
    answer::raw_json("{}")
}

pub(crate) async fn delete_tag(call: Call) -> Answer {
    let user = call.authenticated_as(0).await?;
    let room: OwnedRoomId = call.path_id(1)?;
    data::set_tag(&call.engine, &user, &room, call.path_arg(2), None).await?;
    answer::raw_json("{}")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Map, json};
    use starling_engine::rooms::create::{self, CreateRoom, Preset};

    use crate::testing::{TestDoor, TestUser};

    async fn room(door: &TestDoor, user: &TestUser) -> String {
        let wanted = CreateRoom {
            creator: user.user_id.clone(),
            version: None,
            preset: Preset::PrivateChat,
            published: false,
            alias: None,
            name: None,
            topic: None,
            invite: Vec::new(),
            is_direct: false,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_level_content_override: Map::new(),
        };
        door.test.clock.advance(1);
        let created = create::create(door.engine(), &wanted).await.unwrap();
        format!("/_matrix/client/v3/user/{}/rooms/{}", user.user_id, created)
    }

    #[tokio::test]
    async fn rooms_are_tagged() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let room = room(&door, &alice).await;
        let tags = format!("{room}/tags");
        assert_eq!(door.get(&tags, &alice).await.ok(), json!({ "tags": {} }));
        let favourite = json!({ "order": 0.25, "org.example": [1] });
        door.put(&format!("{tags}/m.favourite"), &alice, favourite.clone()).await.ok();
        door.put(&format!("{tags}/u.%2F"), &alice, json!({})).await.ok();
        let all = json!({ "m.favourite": favourite, "u./": {} });
        assert_eq!(door.get(&tags, &alice).await.ok()["tags"], all);
        let data = door.get(&format!("{room}/account_data/m.tag"), &alice).await.ok();
        assert_eq!(data["tags"], all);
        door.delete(&format!("{tags}/u.%2F"), &alice, json!({})).await.ok();
        assert_eq!(door.get(&tags, &alice).await.ok()["tags"], json!({ "m.favourite": favourite }));
        let answer = door.put(&format!("{tags}/u.x"), &alice, json!({ "order": "1" })).await;
        answer.refused(StatusCode::BAD_REQUEST, "M_BAD_JSON");
    }

    #[tokio::test]
    async fn account_data_belong_to_one_room_of_one_user() {
        let door = TestDoor::new().await;
        let (alice, bob) = (door.user("alice").await, door.user("bob").await);
        let (one, two) = (room(&door, &alice).await, room(&door, &alice).await);
        let path = |room: &str| format!("{room}/account_data/org.example");
        door.put(&path(&one), &alice, json!({ "a": 1 })).await.ok();
        assert_eq!(door.get(&path(&one), &alice).await.ok(), json!({ "a": 1 }));
        door.get(&path(&two), &alice).await.refused(StatusCode::NOT_FOUND, "M_NOT_FOUND");
        door.get(&path(&one), &bob).await.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let as_bob = path(&one).replace("@alice:test", "@bob:test");
        let answer = door.put(&as_bob, &bob, json!({})).await;
        answer.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        let answer = door.put(&format!("{one}/account_data/m.fully_read"), &alice, json!({})).await;
        answer.refused(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON");
    }
}

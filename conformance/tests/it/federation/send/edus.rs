//! Ephemeral messages: a server speaks for its own users only, in rooms that they are in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::scene::Scene;

fn typing(room: &str, user: &str) -> Value {
    let content = json!({ "room_id": room, "user_id": user, "typing": true });
    json!({ "edu_type": "m.typing", "content": content })
}

fn receipt(room: &str, kind: &str, user: &str, event: &str) -> Value {
    let data = json!({ "event_ids": [event], "data": { "ts": 1_700_000_000_000_i64 } });
    json!({ "edu_type": "m.receipt", "content": { room: { kind: { user: data } } } })
}

#[tokio::test]
async fn typing_and_receipts_of_a_member_come_through() {
    let mut scene = Scene::set("12").await;
    let (room, mallory) = (scene.room.id.clone(), scene.mallory.clone());
    let id = scene.say("read this").await.id;
    let edus = json!([typing(&room, &mallory), receipt(&room, "m.read", &mallory, &id)]);
    scene.peer.send_edus(scene.server, edus).await.unwrap();
    let answer = scene.sync.poll(Duration::ZERO).await.unwrap();
    let shown = answer["rooms"]["join"][&room]["ephemeral"]["events"].to_string();
    assert!(shown.contains(r#"["@mallory"#) || shown.contains(&mallory), "{shown}");
    assert!(shown.contains("m.typing") && shown.contains("m.receipt"), "{shown}");
}

#[tokio::test]
async fn nobody_speaks_for_users_of_others_or_in_rooms_of_others() {
    let mut scene = Scene::set("12").await;
    let (room, alice, mallory) =
        (scene.room.id.clone(), scene.alice.id.clone(), scene.mallory.clone());
    let stranger = scene.peer.user("stranger");
    let third = "@carol:elsewhere.example";
    let id = scene.say("read this").await.id;
    let private = scene.alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    let secret = scene.alice.say(&private, "secret").await.unwrap();
    scene.sync.event_with_id(&private, &secret).await.unwrap();
    let spoofed = json!([
        typing(&room, &alice),
        typing(&room, third),
        typing(&room, &stranger),
        typing(&private, &mallory),
        receipt(&room, "m.read", &alice, &id),
        receipt(&room, "m.read", third, &id),
        receipt(&room, "m.read.private", &mallory, &id),
        receipt(&room, "org.example.other", &mallory, &id),
        receipt(&private, "m.read", &mallory, &secret),
        { "edu_type": "m.presence", "content": { "push": [{ "user_id": alice, "presence": "offline" }] } },
        { "edu_type": "m.direct_to_device", "content": {
            "sender": alice, "type": "m.test", "message_id": "1",
            "messages": { &alice: { "*": { "spoofed": true } } },
        } },
        { "edu_type": "m.direct_to_device", "content": {
            "sender": third, "type": "m.test", "message_id": "2",
            "messages": { &alice: { "*": { "spoofed": true } } },
        } },
        { "edu_type": "m.device_list_update", "content": {
            "user_id": alice, "device_id": "X", "stream_id": 7, "prev_id": [],
        } },
        { "edu_type": "m.signing_key_update", "content": { "user_id": alice } },
    ]);
    scene.peer.send_edus(scene.server, spoofed).await.unwrap();
    let answer = scene.sync.poll(Duration::ZERO).await.unwrap();
    for (_, update) in answer["rooms"]["join"].as_object().into_iter().flatten() {
        let shown = update["ephemeral"]["events"].to_string();
        for word in ["m.read", "@carol", "@alice", "@stranger", "org.example.other"] {
            assert!(!shown.contains(word), "{word}: {shown}");
        }
    }
    assert!(answer["rooms"]["join"].get(&private).is_none(), "{answer}");
    let to_device = answer["to_device"]["events"].as_array().map_or(0, Vec::len);
    assert_eq!(to_device, 0, "{answer}");
    assert!(!answer["presence"].to_string().contains("offline"), "{answer}");
    assert!(!answer["device_lists"]["changed"].to_string().contains("@alice"), "{answer}");
    scene.goes_on_without(&[]).await;
}

#[tokio::test]
async fn odd_edus_are_dropped_one_by_one() {
    let mut scene = Scene::set("12").await;
    let (room, mallory) = (scene.room.id.clone(), scene.mallory.clone());
    let id = scene.say("read this").await.id;
    let odd = json!([
        1,
        null,
        "m.typing",
        [],
        {},
        { "edu_type": 5, "content": {} },
        { "edu_type": "m.typing" },
        { "edu_type": "m.typing", "content": null },
        { "edu_type": "m.typing", "content": { "room_id": 1, "user_id": [], "typing": "yes" } },
        { "edu_type": "m.typing", "content": { "room_id": "no room", "user_id": mallory, "typing": true } },
        { "edu_type": "m.receipt", "content": [] },
        { "edu_type": "m.receipt", "content": { "no room": {} } },
        { "edu_type": "m.receipt", "content": { &room: { "m.read": { "no user": {} } } } },
        { "edu_type": "m.receipt", "content": { &room: { "m.read": { &mallory: { "event_ids": "x" } } } } },
        { "edu_type": "m.receipt", "content": { &room: { "m.read": { &mallory: { "event_ids": [] } } } } },
        { "edu_type": "m.receipt", "content": { &room: { "m.read": { &mallory: { "event_ids": [&id], "data": { "ts": 1.5 } } } } } },
        receipt(&room, "m.read", &mallory, "no event"),
        receipt(&room, "m.read", &mallory, "$unknown"),
        receipt("!unknown:example.org", "m.read", &mallory, &id),
        { "edu_type": "m.presence", "content": { "push": 5 } },
        { "edu_type": "m.direct_to_device", "content": { "sender": mallory, "messages": [] } },
        { "edu_type": "m.device_list_update", "content": { "user_id": mallory, "stream_id": -1.5 } },
        { "edu_type": "org.example.unknown", "content": { "deep": [[[[[[]]]]]] } },
        typing(&room, &mallory),
    ]);
    scene.peer.send_edus(scene.server, odd).await.unwrap();
    scene
        .sync
        .ephemeral(&room, "m.typing", |content| content["user_ids"][0] == mallory.as_str())
        .await
        .unwrap();
    scene.goes_on_without(&[]).await;
}

//! PUT /_matrix/federation/v1/send/{txnId}

mod authority;
mod bad_pdu;
pub(crate) mod corpus;
mod devices;
mod edus;
mod missing;
mod numbers;
mod redaction;
mod size;
mod user_ids;

use crate::scene::Scene;

#[tokio::test]
async fn messages_go_both_ways_in_every_room_version() {
    for version in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] {
        let mut scene = Scene::set(version).await;
        scene.say("hello from the peer").await;
        let id = scene.alice.say(&scene.room.id, "hello from here").await.unwrap();
        let pdu = scene
            .peer
            .received_pdu("the message", |pdu| pdu["content"]["body"] == "hello from here")
            .await
            .unwrap();
        assert_eq!(scene.room.extremities(), [id], "{pdu}");
    }
}

#[tokio::test]
async fn a_room_of_the_peer_is_joined_in_every_room_version() {
    for version in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] {
        let mut scene = Scene::set_by_peer(version).await;
        scene.say("welcome").await;
        scene.alice.say(&scene.room.id, "thank you").await.unwrap();
        scene
            .peer
            .received_pdu("the answer", |pdu| pdu["content"]["body"] == "thank you")
            .await
            .unwrap();
    }
}

//! GET /_synapse/admin/v1/users/{userId}/override_ratelimit
//! POST /_synapse/admin/v1/users/{userId}/override_ratelimit
//! DELETE /_synapse/admin/v1/users/{userId}/override_ratelimit

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User},
    random,
};

use super::at;
use crate::support;

async fn send(user: &User, room: &str) -> Answer {
    let content = json!({ "msgtype": "m.text", "body": "x" });
    user.try_send(room, "m.room.message", &random::suffix().unwrap(), content).await.unwrap()
}

/// How many of so many messages are taken.
async fn sent(user: &User, room: &str, count: usize) -> usize {
    let mut sent = 0;
    for _ in 0..count {
        let answer = send(user, room).await;
        if answer.status == 200 {
            sent += 1;
        } else {
            answer.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
        }
    }
    sent
}

#[tokio::test]
async fn a_user_may_send_more_or_less_than_others() {
    let server = support::server_with(&[
        ("RATE_LIMITS__ENABLED", "true"),
        ("RATE_LIMITS__SENDING__BURST", "3"),
        ("RATE_LIMITS__SENDING__PER_SECOND", "1"),
    ])
    .await;
    let admin = User::admin(&server, "admin").await.unwrap();
    let bot = User::register(&server, "bot").await.unwrap();
    let room = bot.create_room(json!({})).await.unwrap();
    let limit = at("/v1/users/{}/override_ratelimit", &[&bot.id]);
    assert_eq!(admin.api.get(&limit).await.unwrap().ok().unwrap(), json!({}));
    assert!(sent(&bot, &room, 60).await < 60);
    let lifted = json!({ "messages_per_second": 0, "burst_count": 0 });
    let answer = admin.api.post(&limit, json!({})).await.unwrap().ok().unwrap();
    assert_eq!(answer, lifted);
    assert_eq!(admin.api.get(&limit).await.unwrap().ok().unwrap(), lifted);
    assert_eq!(sent(&bot, &room, 60).await, 60);
    let own = json!({ "messages_per_second": 1, "burst_count": 30 });
    assert_eq!(admin.api.post(&limit, own.clone()).await.unwrap().ok().unwrap(), own);
    let taken = sent(&bot, &room, 100).await;
    assert!((30..100).contains(&taken), "{taken}");
    admin.api.delete(&limit).await.unwrap().ok().unwrap();
    admin.api.delete(&limit).await.unwrap().ok().unwrap();
    assert_eq!(admin.api.get(&limit).await.unwrap().ok().unwrap(), json!({}));
    assert!(sent(&bot, &room, 60).await < 60);
}

#[tokio::test]
async fn what_is_no_limit_or_no_user_is_refused() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let of = |user: &str| at("/v1/users/{}/override_ratelimit", &[user]);
    for body in [
        json!({ "messages_per_second": -1 }),
        json!({ "burst_count": -1 }),
        json!({ "burst_count": 1_i64 << 40 }),
    ] {
        let answer = admin.api.post(&of(&alice.id), body).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let answer = admin.api.post(&of(&alice.id), json!({ "burst_count": "many" })).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let nobody = alice.id.replace("@alice", "@nobody");
    for (user, status, errcode) in
        [(nobody.as_str(), 404, "M_NOT_FOUND"), ("@a:elsewhere.example", 400, "M_INVALID_PARAM")]
    {
        for answer in [
            admin.api.get(&of(user)).await,
            admin.api.post(&of(user), json!({})).await,
            admin.api.delete(&of(user)).await,
        ] {
            answer.unwrap().expect_error(status, errcode).unwrap();
        }
    }
}

#[tokio::test]
async fn rooms_are_listed_by_what_they_take() {
    let admin = support::admin().await;
    let room = admin.create_room(json!({})).await.unwrap();
    for _ in 0..20 {
        let content = json!({ "msgtype": "m.text", "body": "x".repeat(50_000) });
        admin.send(&room, "m.room.message", content).await.unwrap();
    }
    let target = at("/v1/statistics/database/rooms", &[]);
    let answer = admin.api.get(&target).await.unwrap().ok().unwrap();
    let rooms = answer["rooms"].as_array().unwrap();
    let sizes: Vec<i64> = rooms.iter().map(|it| it["estimated_size"].as_i64().unwrap()).collect();
    assert!(rooms.len() <= 10 && sizes.is_sorted_by(|a, b| a >= b), "{answer}");
    let is_it = |it: &&Value| it["room_id"] == room.as_str();
    assert!(rooms.iter().find(is_it).unwrap()["estimated_size"].as_i64().unwrap() > 1_000_000);
}

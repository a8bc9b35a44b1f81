//! GET /_synapse/admin/v1/registration_tokens
//! and what else there is about the tokens by which people register.

use serde_json::{Value, json};

use super::at;
use crate::support;

#[tokio::test]
async fn tokens_are_made_listed_changed_and_removed() {
    let admin = support::admin().await;
    let new = at("/v1/registration_tokens/new", &[]);
    let random = admin.api.post(&new, json!({})).await.unwrap().ok().unwrap();
    let token = random["token"].as_str().unwrap();
    assert_eq!(token.len(), 16);
    assert_eq!(random["uses_allowed"], Value::Null);
    assert_eq!((&random["completed"], &random["pending"]), (&json!(0), &json!(0)));
    let short = admin.api.post(&new, json!({ "length": 5 })).await.unwrap().ok().unwrap();
    assert_eq!(short["token"].as_str().unwrap().len(), 5);

    let one = at("/v1/registration_tokens/{}", &[token]);
    let future = 4_781_243_146_000_i64;
    let body = json!({ "uses_allowed": 3, "expiry_time": future });
    let changed = admin.api.put(&one, body).await.unwrap().ok().unwrap();
    assert_eq!((&changed["uses_allowed"], &changed["expiry_time"]), (&json!(3), &json!(future)));
    let body = json!({ "uses_allowed": 0 });
    let changed = admin.api.put(&one, body).await.unwrap().ok().unwrap();
    assert_eq!((&changed["uses_allowed"], &changed["expiry_time"]), (&json!(0), &json!(future)));
    let listed = async |query: &str| {
        let list = at(&format!("/v1/registration_tokens{query}"), &[]);
        let list = admin.api.get(&list).await.unwrap().ok().unwrap();
        let tokens = list["registration_tokens"].as_array().unwrap().clone();
        tokens.iter().any(|it| it["token"] == token)
    };
    assert!(listed("").await && listed("?valid=false").await && !listed("?valid=true").await);
    let body = json!({ "uses_allowed": null, "expiry_time": null });
    let changed = admin.api.put(&one, body).await.unwrap().ok().unwrap();
    assert_eq!((&changed["uses_allowed"], &changed["expiry_time"]), (&Value::Null, &Value::Null));
    assert!(listed("?valid=true").await);

    for body in [
        json!({ "token": token }),
        json!({ "token": "with space" }),
        json!({ "token": "x".repeat(65) }),
        json!({ "length": 0 }),
        json!({ "uses_allowed": -1 }),
        json!({ "expiry_time": 1 }),
    ] {
        let answer = admin.api.post(&new, body).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    admin.api.delete(&one).await.unwrap().ok().unwrap();
    for answer in [
        admin.api.delete(&one).await.unwrap(),
        admin.api.get(&one).await.unwrap(),
        admin.api.put(&one, json!({})).await.unwrap(),
    ] {
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}

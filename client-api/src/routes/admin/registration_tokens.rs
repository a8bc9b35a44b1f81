//! GET /_synapse/admin/v1/registration_tokens
//! GET /_synapse/admin/v1/registration_tokens/{token}
//! PUT /_synapse/admin/v1/registration_tokens/{token}
//! DELETE /_synapse/admin/v1/registration_tokens/{token}

pub(crate) mod new;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use starling_engine::admin::tokens::{self, TokenChange, TokenUse};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    valid: Option<bool>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "given")]
    uses_allowed: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    expiry_time: Option<Option<i64>>,
}

/// Tells `null` from what is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(crate) async fn get_all(call: Call) -> Answer {
    call.administrator().await?;
    let Query { valid } = call.query_as()?;
    let tokens = tokens::list(&call.engine, valid).await?;
    let tokens: Vec<Value> = tokens.iter().map(shown).collect();
    answer_json(&json!({ "registration_tokens": tokens }))
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    answer_json(&shown(&tokens::get(&call.engine, call.path_arg(0)).await?))
}

pub(crate) async fn put(mut call: Call) -> Answer {
    call.administrator().await?;
    let Body { uses_allowed, expiry_time } = call.body_as().await?;
    let change = TokenChange { uses_allowed, expires_ts: expiry_time };
    answer_json(&shown(&tokens::change(&call.engine, call.path_arg(0), change).await?))
}

pub(crate) async fn delete(call: Call) -> Answer {
    call.administrator().await?;
    tokens::remove(&call.engine, call.path_arg(0)).await?;
    answer_json(&json!({}))
}

fn shown(token: &TokenUse) -> Value {
    json!({
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": token.pending,
        "completed": token.completed,
        "expiry_time": token.expires_ts,
    })
}

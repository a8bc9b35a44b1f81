//! GET /_synapse/admin/v1/users/{userId}/override_ratelimit
//! POST /_synapse/admin/v1/users/{userId}/override_ratelimit
//! DELETE /_synapse/admin/v1/users/{userId}/override_ratelimit

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::admin::rate_limits::{self, RateLimit};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    messages_per_second: i64,
    #[serde(default)]
    burst_count: i64,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let limit = rate_limits::get(&call.engine, &user).await?;
    answer_json(&limit.map_or_else(|| json!({}), shown))
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let Body { messages_per_second, burst_count } = call.body_as().await?;
    let number = |given: i64| {
        u32::try_from(given)
            .map_err(|_| Error::invalid_param("The numbers must not be negative, nor that large"))
    };
    let limit = RateLimit { per_second: number(messages_per_second)?, burst: number(burst_count)? };
    rate_limits::set(&call.engine, &user, Some(limit)).await?;
    answer_json(&shown(limit))
}

pub(crate) async fn delete(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    rate_limits::set(&call.engine, &user, None).await?;
    answer_json(&json!({}))
}

fn shown(limit: RateLimit) -> Value {
    json!({ "messages_per_second": limit.per_second, "burst_count": limit.burst })
}

//! GET /_synapse/admin/v1/threepid/{medium}/users/{address}

use serde_json::json;
use starling_engine::accounts::threepids;

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let nobodys = || Error::not_found("This address belongs to no account");
    if call.path_arg(0) != threepids::EMAIL {
        return Err(nobodys());
    }
    let address = threepids::canonical_email(call.path_arg(1)).ok_or_else(nobodys)?;
    let owner = threepids::owner(&call.engine, &address).await?.ok_or_else(nobodys)?;
    answer_json(&json!({ "user_id": owner }))
}

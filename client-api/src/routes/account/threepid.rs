//! GET /_matrix/client/v3/account/3pid
//! POST /_matrix/client/v3/account/3pid
//! POST /_matrix/client/v3/account/3pid/add
//! POST /_matrix/client/v3/account/3pid/bind
//! POST /_matrix/client/v3/account/3pid/delete
//! POST /_matrix/client/v3/account/3pid/unbind
//! POST /_matrix/client/v3/account/3pid/email/requestToken
//! POST /_matrix/client/v3/account/3pid/msisdn/requestToken

use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::accounts::{
    emails::{Credentials, Purpose},
    threepids,
};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
    request_token, uia,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let threepids = threepids::list(&call.engine, &session.user_id).await?;
    let shown: Vec<Value> = threepids
        .iter()
        .map(|it| {
            json!({ "medium": it.medium, "address": it.address, "validated_at": it.validated_ts,
                    "added_at": it.added_ts })
        })
        .collect();
    answer::json(&json!({ "threepids": shown }))
}

/// The deprecated twin of [`bind`].
pub(crate) async fn post(call: Call) -> Answer {
    bind(call).await
}

#[derive(Deserialize)]
struct Add {
    client_secret: String,
    sid: String,
}

pub(crate) async fn add(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    let user = &session.user_id;
    call.limit(Doing::Account, &session)?;
    let action = uia::ADD_ADDRESS;
    let proof = uia::authenticate(&mut call, action, Some(user), uia::PASSWORD).await?;
    let Add { client_secret, sid } = serde_json::from_value(proof.body.clone().into())?;
    let credentials = Credentials { session_id: sid, client_secret };
    threepids::add(&call.engine, user, &credentials, &proof).await?;
    answer::json(&json!({}))
}

/// No identity server is trusted: which one it is, the client would choose.
pub(crate) async fn bind(call: Call) -> Answer {
    call.authenticated().await?;
    Err(Error::server_not_trusted("This server works with no identity server"))
}

#[derive(Deserialize)]
struct Named {
    medium: String,
    address: String,
}

pub(crate) async fn delete(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Account, &session)?;
    let Named { medium, address } = call.body_as().await?;
    threepids::remove(&call.engine, &session.user_id, &medium, &address).await?;
    unbound()
}

pub(crate) async fn unbind(mut call: Call) -> Answer {
    call.authenticated().await?;
    let Named { .. } = call.body_as().await?;
    unbound()
}

/// Nothing was bound through this server, so it knows no server to unbind from.
fn unbound() -> Answer {
    answer::json(&json!({ "id_server_unbind_result": "no-support" }))
}

pub(crate) async fn post_email_request_token(mut call: Call) -> Answer {
    request_token::email(&mut call, Purpose::Add).await
}

pub(crate) async fn post_msisdn_request_token(call: Call) -> Answer {
    let refusal = Error::threepid_medium_not_supported("This server takes no telephone numbers");
    request_token::msisdn(call, refusal).await
}

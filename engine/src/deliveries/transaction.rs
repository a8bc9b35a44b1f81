//! One transaction: what is in it, and whether the application service took it.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#put_matrixappv1transactionstxnid>

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use starling_storage::appservices::InFlight;

use crate::{
    Engine,
    appservices::{
        ApplicationService,
        ask::{self, Question},
    },
    remote::Limits,
    rng,
};

/// What a transaction may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), max_body: 64 * 1024 };

#[derive(Serialize)]
struct Body<'a> {
    events: &'a [Box<RawValue>],
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    ephemeral: &'a [Value],
}

/// Puts what is to be told into a transaction with a new ID.
///
/// # Errors
///
/// None in practice: the JSON was parsed or made here.
pub(super) fn compose(
    events: &[Box<RawValue>],
    ephemeral: &[Value],
    pos: i64,
) -> Result<InFlight, serde_json::Error> {
    let body = serde_json::to_string(&Body { events, ephemeral })?;
    Ok(InFlight { txn_id: rng::token::<12>(), body, pos })
}

/// Sends a transaction.
///
/// # Errors
///
/// Why the application service did not take it.
pub(super) async fn send(
    engine: &Engine,
    service: &ApplicationService,
    txn: &InFlight,
) -> Result<(), String> {
    let body = Some(Bytes::from(txn.body.clone()));
    let path = ["transactions", &txn.txn_id];
    let question = Question { method: Method::PUT, path: &path, query: &[], body };
    let answer = ask::ask(engine, service, question, LIMITS).await;
    match answer.map_err(|error| error.to_string())?.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered with status {status}")),
    }
}

//! One transaction: what is in it, and whether the application service took it.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#put_matrixappv1transactionstxnid>

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use starling_storage::appservices::InFlight;

use super::encryption::Left;
use crate::{
    Engine,
    appservices::{
        ApplicationService,
        ask::{self, Question},
    },
    encryption::news::DeviceLists,
    remote::Limits,
    rng,
};

/// What a transaction may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), max_body: 64 * 1024 };

/// What is told in a transaction.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Events.
    pub(super) events: Vec<Box<RawValue>>,
    /// Receipts, typing and presence.
    pub(super) ephemeral: Vec<Value>,
    /// Messages to devices.
    pub(super) to_device: Vec<Box<RawValue>>,
    /// Whose devices changed.
    pub(super) device_lists: DeviceLists,
    /// How many keys devices have left.
    pub(super) left: Left,
}

/// The keys of what is not in the specification yet are those that application services know.
#[derive(Serialize)]
struct Body<'a> {
    events: &'a [Box<RawValue>],
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    ephemeral: &'a [Value],
    #[serde(
        rename = "de.sorunome.msc2409.to_device",
        skip_serializing_if = "<[Box<RawValue>]>::is_empty"
    )]
    to_device: &'a [Box<RawValue>],
    #[serde(rename = "org.matrix.msc3202.device_lists", skip_serializing_if = "Option::is_none")]
    device_lists: Option<&'a DeviceLists>,
    #[serde(
        rename = "org.matrix.msc3202.device_one_time_keys_count",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    one_time_keys: &'a BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>,
    #[serde(
        rename = "org.matrix.msc3202.device_unused_fallback_key_types",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    fallback: &'a BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// Puts what is to be told into a transaction with a new ID.
///
/// # Errors
///
/// None in practice: the JSON was parsed or made here.
pub(super) fn compose(content: &Content, pos: i64) -> Result<InFlight, serde_json::Error> {
    let lists = &content.device_lists;
    let body = serde_json::to_string(&Body {
        events: &content.events,
        ephemeral: &content.ephemeral,
        to_device: &content.to_device,
        device_lists: Some(lists).filter(|lists| **lists != DeviceLists::default()),
        one_time_keys: &content.left.one_time_keys,
        fallback: &content.left.fallback,
    })?;
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

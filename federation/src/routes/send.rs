//! PUT /_matrix/federation/v1/send/{txnId}

use axum::extract::State;
use ruma::{
    OwnedServerName, api::federation::transactions::send_transaction_message::v1::Response,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_engine::{
    at_most::AtMost,
    rooms::receive::transaction::{self, Transaction, TransactionError},
};

use crate::{
    door::{Answer, Door, Outcome, SignedBody},
    error::{Error, Kind},
};

/// Beyond this a list is not read; how many there may be, the engine says.
const MOST: usize = 1000;

#[derive(Deserialize)]
pub(crate) struct Body {
    origin: OwnedServerName,
    #[serde(default)]
    pdus: AtMost<Box<RawValue>, MOST>,
    #[serde(default)]
    edus: AtMost<Box<RawValue>, MOST>,
}

pub(crate) async fn put(
    State(door): State<Door>,
    SignedBody { origin, path, body, .. }: SignedBody<Body>,
) -> Outcome<Response> {
    if body.origin != origin {
        return Err(Error::new(
            Kind::Forbidden,
            "The transaction is not of the server that sends it",
        ));
    }
    let txn_id = path.into_iter().next().unwrap_or_default();
    let transaction = Transaction { txn_id, pdus: body.pdus.0, edus: body.edus.0 };
    let results = transaction::receive(&door.engine, &origin, transaction).await?;
    Ok(Answer(Response::new(results)))
}

impl From<TransactionError> for Error {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::TooMany => Self::new(Kind::InvalidParam, error.to_string()),
            TransactionError::Internal(error) => Self::failed(&error),
        }
    }
}

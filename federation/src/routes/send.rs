//! PUT /_matrix/federation/v1/send/{txnId}

use axum::extract::State;
use ruma::api::federation::transactions::send_transaction_message::v1::{Request, Response};
use starling_engine::rooms::receive::transaction::{self, Transaction, TransactionError};

use crate::{
    door::{Answer, Door, Outcome, Signed},
    error::{Error, Kind},
};

pub(crate) async fn put(
    State(door): State<Door>,
    Signed { origin, request, .. }: Signed<Request>,
) -> Outcome<Response> {
    if request.origin != origin {
        return Err(Error::new(
            Kind::Forbidden,
            "The transaction is not of the server that sends it",
        ));
    }
    let transaction = Transaction {
        txn_id: request.transaction_id.to_string(),
        pdus: request.pdus,
        edus: request.edus.into_iter().map(ruma::serde::Raw::into_json).collect(),
    };
    let results = transaction::receive(&door.engine, &origin, transaction).await?;
    Ok(Answer(Response::new(results)))
}

impl From<TransactionError> for Error {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::TooMany => Self::new(Kind::InvalidParam, error.to_string()),
            TransactionError::Internal(error) => Self::internal(error),
        }
    }
}

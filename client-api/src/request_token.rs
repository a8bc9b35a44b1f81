//! What the addresses `…/requestToken` have in common.

use serde::Deserialize;
use serde_json::json;
use starling_engine::accounts::{
    attempts::{self, Kind},
    emails::{self, Purpose},
    threepids,
};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

/// How many attempts a client may count.
const MOST_ATTEMPTS: i64 = 1 << 53;

#[derive(Deserialize)]
struct Body {
    client_secret: String,
    email: String,
    send_attempt: i64,
    next_link: Option<String>,
    id_server: Option<String>,
}

/// Sends a letter by which an address is validated. An identity server that is named is ignored where
/// this server validates by itself ("This parameter is ignored when the homeserver handles 3PID
/// verification"), and not trusted where it cannot.
pub(crate) async fn email(call: &mut Call, purpose: Purpose) -> Answer {
    let Body { client_secret, email, send_attempt, next_link, id_server } = call.body_as().await?;
    if !(0..=MOST_ATTEMPTS).contains(&send_attempt) {
        return Err(Error::invalid_param("`send_attempt` is out of range"));
    }
    count(call, &email).await?;
    let request =
        emails::Request { purpose, address: email, client_secret, send_attempt, next_link };
    let session_id = emails::request(&call.engine, request).await.map_err(|error| {
        match (error, purpose) {
            (emails::RequestError::Disabled, _) if id_server.is_some() => not_trusted(),
            // Only for what is added to an account the specification names this errcode.
            (emails::RequestError::Disabled, Purpose::Add) => {
                Error::threepid_medium_not_supported("This server sends no e-mail")
            }
            (error, _) => error.into(),
        }
    })?;
    answer::json(&json!({ "sid": session_id }))
}

/// Refuses to validate a telephone number, which this server cannot, nor has another one do it.
pub(crate) async fn msisdn(mut call: Call, refusal: Error) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        id_server: Option<String>,
    }
    let Body { id_server } = call.body_as().await?;
    Err(if id_server.is_some() { not_trusted() } else { refusal })
}

fn not_trusted() -> Error {
    Error::server_not_trusted("This server works with no identity server")
}

/// Letters are counted for whoever asks for them and for whoever gets them.
pub(crate) async fn count(call: &Call, email: &str) -> Result<(), Error> {
    if !call.door.settings.rate_limits {
        return Ok(());
    }
    attempts::count_address(&call.engine, Kind::LettersFrom, call.client_ip()).await?;
    if let Some(address) = threepids::canonical_email(email) {
        attempts::count(&call.engine, Kind::LettersTo, &address).await?;
    }
    Ok(())
}

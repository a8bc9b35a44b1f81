//! GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events
//! GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}
//! POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use starling_engine::rooms::delayed::{self, DelayedEvent, ManageError};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

pub(crate) mod cancel;
pub(crate) mod restart;
pub(crate) mod send;

pub(crate) async fn get_all(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let events = delayed::of_user(&call.engine, &session.user_id).await?;
    let shown = events.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    answer::json(&json!({ "delayed_events": shown }))
}

/// One's own: those of others are not there.
pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let event = delayed::get(&call.engine, call.path_arg(0)).await?;
    let event = event.filter(|event| event.user_id == session.user_id.as_str());
    answer::json(&shown(&event.ok_or(ManageError::NotFound)?)?)
}

fn shown(event: &DelayedEvent) -> Result<Value, Error> {
    let content: &RawValue = serde_json::from_str(&event.content).map_err(Error::internal)?;
    let mut shown = json!({
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.kind,
        "delay": event.delay_ms,
        "running_since": event.since_ts,
        "content": content,
    });
    if let Some(state_key) = &event.state_key {
        shown["state_key"] = state_key.as_str().into();
    }
    Ok(shown)
}

/// The form of the request in which the body names what is to be done.
pub(crate) async fn post(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        action: String,
    }
    let Body { action } = call.body_as().await?;
    match action.as_str() {
        "cancel" => cancel::post(call).await,
        "restart" => restart::post(call).await,
        "send" => send::post(call).await,
        _ => Err(Error::invalid_param("There is no such action")),
    }
}

/// Whoever knows the name of an event may ask; who says who they are is counted as themselves.
async fn asked(call: &Call) -> Result<(), Error> {
    match call.has_token() && call.maybe_guest().await.is_ok() {
        true => Ok(()),
        false => call.anonymous(),
    }
}

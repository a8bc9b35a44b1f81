//! POST /_matrix/client/v3/keys/device_signing/upload

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use starling_engine::encryption::signing::{self, Need, Upload};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
    uia,
};

#[derive(Deserialize)]
struct Body {
    master_key: Option<Box<RawValue>>,
    self_signing_key: Option<Box<RawValue>>,
    user_signing_key: Option<Box<RawValue>>,
}

impl From<Body> for Upload {
    fn from(body: Body) -> Self {
        let Body { master_key, self_signing_key, user_signing_key } = body;
        Self { master: master_key, self_signing: self_signing_key, user_signing: user_signing_key }
    }
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Account, &session)?;
    let (user, device) = (&session.user_id, &session.device_id);
    let mut upload = Upload::from(call.body_as::<Body>().await?);
    // Who has nothing yet needs no proof to set it up, and what is there already may be sent again.
    let proof = match signing::need(&call.engine, user, &upload).await? {
        Need::Nothing | Need::NoProof => None,
        Need::Proof => {
            let action = uia::SIGNING_KEYS;
            let proof = uia::of_session(&mut call, action, &session, uia::PASSWORD).await?;
            let body = serde_json::to_string(&proof.body).map_err(Error::internal)?;
            upload = serde_json::from_str::<Body>(&body)?.into();
            Some(proof)
        }
    };
    signing::upload(&call.engine, user, device, upload, proof.as_ref()).await?;
    json(&Map::<String, Value>::new())
}

//! POST /_matrix/client/v3/delete_devices

use ruma::api::client::device::delete_devices::v3::{Request, Response};
use starling_engine::accounts::devices;

use crate::{
    answer::{Answer, answer},
    call::Call,
    limits::Doing,
    uia,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    let user = &session.user_id;
    call.limit(Doing::Account, &session)?;
    let action = uia::DELETE_DEVICES;
    let proof = uia::of_session(&mut call, action, &session, uia::PASSWORD).await?;
    let request: Request = uia::parse_proved(&call, &proof)?;
    devices::remove(&call.engine, user, &request.devices, &proof).await?;
    answer(Response::new())
}

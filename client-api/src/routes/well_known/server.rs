//! GET /.well-known/matrix/server

use std::collections::BTreeMap;

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    match &call.door.settings.federation_name {
        Some(name) => json(&BTreeMap::from([("m.server", name)])),
        None => Err(Error::not_found("This server does not announce another name")),
    }
}

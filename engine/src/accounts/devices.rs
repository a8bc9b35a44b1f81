//! The devices of an account.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ruma::{OwnedDeviceId, OwnedUserId};

use super::Session;
use crate::Engine;

/// When devices were last seen, until that is written.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<(OwnedUserId, OwnedDeviceId), (i64, IpAddr)>>);

/// Notes that a device made a request. Nothing is written before the next
/// [`write_seen`].
pub fn note_seen(engine: &Engine, session: &Session, address: IpAddr) {
    let device = (session.user_id.clone(), session.device_id.clone());
    let mut seen = engine.accounts.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    seen.insert(device, (engine.clock.now_ms(), address));
}

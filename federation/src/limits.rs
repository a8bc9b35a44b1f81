//! How much another server may ask of this one: requests of all kinds, and invites, which are what a
//! stranger can make our users see without sharing a room with them.

use std::sync::Arc;

use ruma::{OwnedServerName, ServerName};
use starling_engine::{
    allowance::{Allowance, Left},
    clock::Clock,
};

use crate::error::{Error, Kind};

/// What is left of the allowance of each server.
#[derive(Debug)]
pub(crate) struct Limits {
    requests: Option<Left<OwnedServerName>>,
    invites: Option<Left<OwnedServerName>>,
}

impl Limits {
    /// `None`: there is no limit.
    pub(crate) fn new(
        requests: Option<Allowance>,
        invites: Option<Allowance>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let left = |allowance: Option<Allowance>| allowance.map(|it| Left::new(it, clock.clone()));
        Self { requests: left(requests), invites: left(invites) }
    }

    /// Takes one request from a server's allowance.
    pub(crate) fn request(&self, origin: &ServerName) -> Result<(), Error> {
        take(self.requests.as_ref(), origin, "Too many requests of your server: try again later")
    }

    /// Takes one invite from a server's allowance.
    pub(crate) fn invite(&self, origin: &ServerName) -> Result<(), Error> {
        take(self.invites.as_ref(), origin, "Too many invites by your server: try again later")
    }
}

fn take(
    left: Option<&Left<OwnedServerName>>,
    origin: &ServerName,
    refusal: &str,
) -> Result<(), Error> {
    let Some(left) = left else { return Ok(()) };
    left.take(&origin.to_owned()).map_err(|wait| {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Error::new(Kind::LimitExceeded, refusal).with("retry_after_ms", wait)
    })
}

//! How many invites another server may send. Invites are what a stranger can make our users see
//! without sharing a room with them.

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
    invites: Option<Left<OwnedServerName>>,
}

impl Limits {
    /// `None`: there is no limit.
    pub(crate) fn new(invites: Option<Allowance>, clock: &Arc<dyn Clock>) -> Self {
        Self { invites: invites.map(|allowance| Left::new(allowance, clock.clone())) }
    }

    /// Takes one invite from a server's allowance.
    pub(crate) fn invite(&self, origin: &ServerName) -> Result<(), Error> {
        let Some(invites) = &self.invites else { return Ok(()) };
        invites.take(&origin.to_owned()).map_err(|wait| {
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            Error::new(Kind::LimitExceeded, "Too many invites by your server: try again later")
                .with("retry_after_ms", wait)
        })
    }
}

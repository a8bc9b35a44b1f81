//! How often one user or address may do something, counted in memory and for each process.
//!
//! Attempts at log-in, registration and passwords are counted in the database instead, by the
//! engine: guessing must not become cheaper with more processes.

use std::{net::IpAddr, sync::Arc};

use ruma::UserId;
use starling_engine::{
    allowance::{Allowance, Left, network},
    clock::Clock,
};

use crate::{Settings, error::Error};

/// What is counted: each has its own allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Anything at all.
    Anything,
    /// Sending events.
    Sending,
    /// Joining, inviting, knocking and the like.
    Joining,
    /// Making rooms and aliases.
    Creating,
    /// Searching, listing, looking up what other servers must be asked for; typing, receipts, read
    /// markers.
    Asking,
    /// Changing one's account, profile, devices.
    Account,
    /// Uploading and downloading files, previews of web pages.
    Media,
}

/// The allowances of everybody.
#[derive(Debug)]
pub(crate) struct Limits {
    enabled: bool,
    anything: Left<String>,
    sending: Left<String>,
    joining: Left<String>,
    creating: Left<String>,
    asking: Left<String>,
    account: Left<String>,
    media: Left<String>,
}

impl Limits {
    pub(crate) fn new(settings: &Settings, clock: &Arc<dyn Clock>) -> Self {
        let left = |allowance: Allowance| Left::new(allowance, clock.clone());
        Self {
            enabled: settings.rate_limits,
            anything: left(settings.allowances.requests),
            sending: left(settings.allowances.sending),
            joining: left(settings.allowances.joining),
            creating: left(settings.allowances.creating),
            asking: left(settings.allowances.asking),
            account: left(settings.allowances.account),
            media: left(settings.allowances.media),
        }
    }

    /// Takes one from a user's allowance.
    pub(crate) fn user(&self, doing: Doing, user: &UserId) -> Result<(), Error> {
        self.take(doing, user.as_str().to_owned())
    }

    /// Takes one from an address's allowance.
    pub(crate) fn address(&self, doing: Doing, address: IpAddr) -> Result<(), Error> {
        self.take(doing, network(address))
    }

    fn take(&self, doing: Doing, key: String) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        self.left(doing).take(&key).map_err(Error::limit_exceeded)
    }

    fn left(&self, doing: Doing) -> &Left<String> {
        match doing {
            Doing::Anything => &self.anything,
            Doing::Sending => &self.sending,
            Doing::Joining => &self.joining,
            Doing::Creating => &self.creating,
            Doing::Asking => &self.asking,
            Doing::Account => &self.account,
            Doing::Media => &self.media,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use http::{StatusCode, header};
    use ruma::user_id;
    use starling_engine::testing::TestClock;

    use super::*;

    fn settings(rate_limits: bool) -> Settings {
        Settings { rate_limits, ..Settings::default() }
    }

    #[test]
    fn an_allowance_is_used_up_by_one_and_comes_back() {
        let clock = Arc::new(TestClock::default());
        let counted: Arc<dyn Clock> = clock.clone();
        let limits = Limits::new(&settings(true), &counted);
        let (alice, bob) = (user_id!("@alice:test"), user_id!("@bob:test"));
        while limits.user(Doing::Creating, alice).is_ok() {}
        let refusal = limits.user(Doing::Creating, alice).unwrap_err().into_response();
        assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refusal.headers()[header::RETRY_AFTER], "1");
        limits.user(Doing::Creating, bob).unwrap();
        limits.user(Doing::Sending, alice).unwrap();
        clock.advance(1_000);
        limits.user(Doing::Creating, alice).unwrap();
        limits.user(Doing::Creating, alice).unwrap_err();
    }

    #[test]
    fn switched_off_there_is_no_limit() {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let limits = Limits::new(&settings(false), &clock);
        for _ in 0..1_000 {
            limits.address(Doing::Asking, "::1".parse().unwrap()).unwrap();
        }
    }
}

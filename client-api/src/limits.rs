//! How often one user or address may do something, counted in memory and for each process.
//!
//! Attempts at log-in, registration and passwords are counted in the database instead, by the
//! engine: guessing must not become cheaper with more processes.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedUserId, UserId};
use starling_engine::{
    accounts::Session,
    admin::rate_limits::RateLimit,
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
    exceptions: Exceptions,
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
            exceptions: Exceptions { clock: clock.clone(), users: Mutex::default() },
            anything: left(settings.allowances.requests),
            sending: left(settings.allowances.sending),
            joining: left(settings.allowances.joining),
            creating: left(settings.allowances.creating),
            asking: left(settings.allowances.asking),
            account: left(settings.allowances.account),
            media: left(settings.allowances.media),
        }
    }

    /// Takes note of what is allowed to a user who asks for something.
    pub(crate) fn heed(&self, session: &Session) {
        if self.enabled {
            self.exceptions.heed(&session.user_id, session.rate_limit);
        }
    }

    /// Takes one from a user's allowance.
    pub(crate) fn user(&self, doing: Doing, user: &UserId) -> Result<(), Error> {
        match self.exceptions.of(user) {
            Some(Exception::Unlimited) => Ok(()),
            Some(Exception::Sending(left)) if doing == Doing::Sending => {
                left.take(&()).map_err(Error::limit_exceeded)
            }
            _ => self.take(doing, user.as_str().to_owned()),
        }
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

/// Users whom administrators allow something else, as far as they have asked for anything.
struct Exceptions {
    clock: Arc<dyn Clock>,
    users: Mutex<HashMap<OwnedUserId, (RateLimit, Exception)>>,
}

#[derive(Clone)]
enum Exception {
    Unlimited,
    /// Their own allowance to send events; everything else is as for others.
    Sending(Arc<Left<()>>),
}

impl Exceptions {
    fn heed(&self, user: &UserId, limit: Option<RateLimit>) {
        let mut users = self.users();
        let known = users.get(user).map(|(limit, _)| *limit);
        match limit {
            Some(limit) if known != Some(limit) => {
                users.insert(user.to_owned(), (limit, self.exception(limit)));
            }
            None if known.is_some() => {
                users.remove(user);
            }
            _ => {}
        }
    }

    fn exception(&self, limit: RateLimit) -> Exception {
        if limit.per_second == 0 && limit.burst == 0 {
            return Exception::Unlimited;
        }
        let allowance = Allowance::new(limit.burst, limit.per_second);
        Exception::Sending(Arc::new(Left::new(allowance, self.clock.clone())))
    }

    fn of(&self, user: &UserId) -> Option<Exception> {
        self.users().get(user).map(|(_, exception)| exception.clone())
    }

    fn users(&self) -> MutexGuard<'_, HashMap<OwnedUserId, (RateLimit, Exception)>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exceptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exceptions").finish_non_exhaustive()
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
    fn an_exception_holds_until_it_is_taken_back() {
        let counted: Arc<dyn Clock> = Arc::new(TestClock::default());
        let limits = Limits::new(&settings(true), &counted);
        let alice = user_id!("@alice:test");
        let sent = || (0..1_000).take_while(|_| limits.user(Doing::Sending, alice).is_ok()).count();
        limits.exceptions.heed(alice, Some(RateLimit { per_second: 1, burst: 3 }));
        assert_eq!(sent(), 3);
        limits.user(Doing::Creating, alice).unwrap();
        limits.exceptions.heed(alice, Some(RateLimit { per_second: 0, burst: 0 }));
        assert_eq!(sent(), 1_000);
        limits.exceptions.heed(alice, None);
        assert_eq!(sent(), 50);
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

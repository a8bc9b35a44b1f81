//! How often one may try to log in, register or give a password, counted for the whole deployment.
//!
//! The database counts, so that guessing becomes no cheaper with more processes or by restarts.

use std::{net::IpAddr, time::Duration};

use starling_storage::{
    Change, Claim, CommitError,
    accounts::{
        self,
        attempts::{self as rows, Attempt},
    },
};

use super::{names, uia::Named};
use crate::{Engine, Internal, allowance::network};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Passwords and log-in tokens given from one address.
    AddressPasswords,
    /// Passwords given for one account, or for whoever has one e-mail address, since the last that was
    /// right.
    AccountPasswords,
    /// Accounts made from one address.
    Registrations,
    /// Registration tokens shown from one address.
    RegistrationTokens,
    /// Letters asked for from one address.
    LettersFrom,
    /// Letters sent to one e-mail address.
    LettersTo,
}

impl Kind {
    fn bucket(self) -> &'static str {
        match self {
            Self::AddressPasswords => "address_passwords",
            Self::AccountPasswords => "account_passwords",
            Self::Registrations => "registrations",
            Self::RegistrationTokens => "registration_tokens",
            Self::LettersFrom => "letters_from",
            Self::LettersTo => "letters_to",
        }
    }

    /// How many there may be in that time.
    fn allowed(self) -> (i64, Duration) {
        match self {
            Self::AddressPasswords => (60, Duration::from_secs(5 * 60)),
            Self::AccountPasswords => (10, Duration::from_secs(5 * 60)),
            Self::Registrations => (20, Duration::from_secs(60 * 60)),
            Self::RegistrationTokens => (20, Duration::from_secs(60 * 60)),
            Self::LettersFrom => (20, Duration::from_secs(60 * 60)),
            Self::LettersTo => (5, Duration::from_secs(60 * 60)),
        }
    }
}

/// Why an attempt is refused.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There were too many; after that time another may be made.
    #[error("too many attempts")]
    TooMany(Duration),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Counts an attempt of `key` before it is made.
///
/// # Errors
///
/// [`AttemptError`].
pub async fn count(engine: &Engine, kind: Kind, key: &str) -> Result<(), AttemptError> {
    let (allowed, window) = kind.allowed();
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    let now_ts = engine.clock.now_ms();
    let mut change = Change::new();
    let (bucket, key) = (kind.bucket(), key.to_owned());
    let attempt = Attempt { bucket, key: key.clone(), now_ts, window_ms, allowed };
    change.claim(Claim::Attempt(attempt));
    match engine.storage.commit(change).await {
        Ok(_) => Ok(()),
        Err(CommitError::UsedUp) => {
            let mut conn = engine.storage.read().await.map_err(Internal::from)?;
            let row = rows::get(&mut conn, bucket, &key).await.map_err(Internal::from)?;
            let since = row.map_or(now_ts, |(since, _)| since);
            let wait = u64::try_from((since + window_ms - now_ts).max(1_000)).unwrap_or(1_000);
            Err(AttemptError::TooMany(Duration::from_millis(wait)))
        }
        Err(error) => Err(Internal::from(error).into()),
    }
}

/// Counts an attempt of whoever has an address, before it is made.
///
/// # Errors
///
/// [`AttemptError`].
pub async fn count_address(
    engine: &Engine,
    kind: Kind,
    address: IpAddr,
) -> Result<(), AttemptError> {
    count(engine, kind, &network(address)).await
}

/// Counts that a password is given for somebody, from an address. Who is named by an e-mail address is
/// counted by that: whose it is would show otherwise.
///
/// # Errors
///
/// [`AttemptError`].
pub async fn count_password(
    engine: &Engine,
    address: IpAddr,
    named: &Named,
) -> Result<(), AttemptError> {
    count_address(engine, Kind::AddressPasswords, address).await?;
    let user = names::user_id(engine, &named.user.to_ascii_lowercase());
    match named.email.clone().or_else(|| user.map(String::from)) {
        Some(key) => count(engine, Kind::AccountPasswords, &key).await,
        None => Ok(()),
    }
}

/// Adds to `change` that the attempts of `key` are forgotten: the last one was right.
pub(crate) fn forget(change: &mut Change, kind: Kind, key: &str) {
    let (bucket, key) = (kind.bucket(), key.to_owned());
    change.write(accounts::Write::ResetAttempts { bucket, key });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each_database;

    #[tokio::test]
    async fn too_many_attempts_are_refused_until_their_time_is_over() {
        on_each_database(async |test| {
            let engine = &test.engine;
            for _ in 0..10 {
                count(engine, Kind::AccountPasswords, "@a:test").await.unwrap();
            }
            test.clock.advance(60_000);
            let refused = count(engine, Kind::AccountPasswords, "@a:test").await;
            let Err(AttemptError::TooMany(wait)) = refused else { panic!("{refused:?}") };
            assert_eq!(wait, Duration::from_secs(4 * 60));
            count(engine, Kind::AccountPasswords, "@b:test").await.unwrap();
            count(engine, Kind::AddressPasswords, "@a:test").await.unwrap();
            test.clock.advance(4 * 60_000);
            count(engine, Kind::AccountPasswords, "@a:test").await.unwrap();
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn the_addresses_of_one_network_count_together() {
        on_each_database(async |test| {
            let count = async |address: String| {
                count_address(&test.engine, Kind::Registrations, address.parse().unwrap()).await
            };
            for host in 0..20 {
                count(format!("2001:db8::{host:x}")).await.unwrap();
            }
            count("2001:db8::ffff:1".to_owned()).await.unwrap_err();
            count("2001:db8:0:1::1".to_owned()).await.unwrap();
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_right_password_is_a_new_beginning() {
        on_each_database(async |test| {
            let engine = &test.engine;
            for _ in 0..30 {
                count(engine, Kind::AccountPasswords, "@a:test").await.unwrap();
                let mut change = Change::new();
                forget(&mut change, Kind::AccountPasswords, "@a:test");
                engine.storage.commit(change).await.unwrap();
            }
            test
        })
        .await
        .unwrap();
    }
}

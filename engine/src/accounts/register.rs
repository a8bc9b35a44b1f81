//! Making accounts.

use std::sync::Arc;

use ruma::{OwnedDeviceId, OwnedUserId};
use starling_storage::{
    Change, Claim, CommitError, account_data,
    accounts::{UserRow, flags},
};

use super::{
    devices::{self, NewDevice},
    directory,
    emails::Validated,
    names::{self, NameError},
    passwords::{self, PasswordError},
    threepids,
    tokens::{self, Issued},
    uia::Proof,
};
use crate::{Engine, Internal, appservices::ApplicationService, rng};

/// An account to be made.
#[derive(Clone, Default)]
pub struct NewAccount {
    /// Its name; `None`: a random one.
    pub name: Option<String>,
    /// Its password; `None`: it cannot log in by password.
    pub password: Option<String>,
    /// What to call its user.
    pub display_name: Option<String>,
    /// Whether it administers this server.
    pub admin: bool,
    /// The device to log in with at once; `None`: it is not logged in.
    pub device: Option<NewDevice>,
    /// Whose guest account becomes this one, instead of a new one being made.
    pub upgrades: Option<OwnedUserId>,
    /// Its e-mail address.
    pub email: Option<Validated>,
    /// The application service that makes it.
    pub appservice: Option<Arc<ApplicationService>>,
}

/// An account that was made.
pub struct Registered {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device that is logged in, with its tokens.
    pub device: Option<(OwnedDeviceId, Issued)>,
}

/// Why an account is not made.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name cannot be given.
    #[error("{0}")]
    Name(NameError),
    /// The password is empty or too long.
    #[error("the password is empty or longer than {} bytes", passwords::LONGEST)]
    BadPassword,
    /// The device's id or name cannot be one.
    #[error("the device's id or name is too long")]
    BadDevice,
    /// The e-mail address belongs to another account.
    #[error("the e-mail address belongs to another account")]
    EmailInUse,
    /// The session or the registration token was used by another request meanwhile.
    #[error("the registration token or the session has been used")]
    UsedUp,
    /// Too many passwords wait to be hashed.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<NameError> for RegisterError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Internal(cause) => Self::Internal(cause),
            other => Self::Name(other),
        }
    }
}

impl From<PasswordError> for RegisterError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Internal(cause) => Self::Internal(cause),
        }
    }
}

/// Makes an account, all at once: name, password, device and tokens, and what the proof uses up.
///
/// # Errors
///
/// [`RegisterError`].
pub async fn register(
    engine: &Engine,
    new: NewAccount,
    proof: &Proof,
) -> Result<Registered, RegisterError> {
    let mut change = Change::new();
    proof.claim(engine, &mut change);
    let new = NewAccount { email: proof.email.clone(), ..new };
    make(engine, new, change).await
}

/// Makes an account for an application service, which proves nothing.
///
/// # Errors
///
/// [`RegisterError`].
pub async fn by_service(engine: &Engine, new: NewAccount) -> Result<Registered, RegisterError> {
    make(engine, new, Change::new()).await
}

/// Makes the account of a guest, with a device.
///
/// # Errors
///
/// [`RegisterError`].
pub async fn guest(
    engine: &Engine,
    device_name: Option<String>,
) -> Result<Registered, RegisterError> {
    let device = NewDevice { display_name: device_name, ..NewDevice::default() };
    if !device.is_acceptable() {
        return Err(RegisterError::BadDevice);
    }
    let user_id = names::available(engine, &random_name()).await?;
    let mut change = Change::new();
    change.claim(Claim::NewUser(UserRow {
        user_id: user_id.to_string(),
        flags: flags::GUEST,
        created_ts: engine.clock.now_ms(),
        ..UserRow::default()
    }));
    let device = Some(devices::enter(engine, &mut change, &user_id, device));
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(Registered { user_id, device })
}

/// Makes an account on top of what `change` claims.
pub(crate) async fn make(
    engine: &Engine,
    new: NewAccount,
    mut change: Change,
) -> Result<Registered, RegisterError> {
    if new.device.as_ref().is_some_and(|device| !device.is_acceptable()) {
        return Err(RegisterError::BadDevice);
    }
    let user_id = match &new.upgrades {
        Some(guest) => guest.clone(),
        None => {
            let name = new.name.unwrap_or_else(random_name);
            names::available_to(engine, new.appservice.as_deref(), &name).await?
        }
    };
    let password_hash = match new.password {
        Some(password) if passwords::is_acceptable(&password) => {
            Some(passwords::hash(engine, password).await?)
        }
        Some(_) => return Err(RegisterError::BadPassword),
        None => None,
    };
    let row = UserRow {
        user_id: user_id.to_string(),
        password_hash,
        flags: if new.admin { flags::ADMIN } else { 0 },
        appservice_id: new.appservice.map(|service| service.id.clone()),
        created_ts: engine.clock.now_ms(),
        ..UserRow::default()
    };
    change.claim(match new.upgrades {
        Some(_) => Claim::Guest { user_id: row.user_id, password_hash: row.password_hash },
        None => Claim::NewUser(row),
    });
    directory::follow::name(&mut change, &user_id, new.display_name.as_deref());
    if let Some(email) = &new.email {
        if threepids::owner(engine, &email.address).await?.is_some() {
            return Err(RegisterError::EmailInUse);
        }
        threepids::claim(engine, &mut change, &user_id, email);
    }
    if let Some(display_name) = new.display_name {
        change.write(account_data::Write::Profile {
            user_id: user_id.to_string(),
            field: "displayname".to_owned(),
            value: Some(serde_json::Value::from(display_name).to_string()),
        });
    }
    let device = new.device.map(|device| devices::enter(engine, &mut change, &user_id, device));
    match engine.storage.commit(change).await {
        Ok(_) => {
            tokens::revoked(engine);
            Ok(Registered { user_id, device })
        }
        Err(CommitError::NameTaken) => Err(RegisterError::Name(NameError::Taken)),
        Err(CommitError::UsedUp) => Err(RegisterError::UsedUp),
        Err(error) => Err(Internal::from(error).into()),
    }
}

/// A name for who does not care.
fn random_name() -> String {
    rng::bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use serde_json::{Value, json};
    use starling_storage::accounts::registration_tokens::RegistrationTokenRow;

    use super::*;
    use crate::{
        accounts::uia::{self, Failure, Outcome, Stage, Wanted},
        testing::{TestEngine, on_each_database},
    };

    async fn add_token(test: &TestEngine, uses_allowed: Option<i64>, expires_ts: Option<i64>) {
        let mut change = Change::new();
        change.claim(Claim::NewRegistrationToken(RegistrationTokenRow {
            token: "token".to_owned(),
            uses_allowed,
            expires_ts,
            created_ts: test.engine.clock.now_ms(),
        }));
        test.engine.storage.commit(change).await.unwrap();
    }

    async fn show_token(test: &TestEngine) -> Result<Proof, Option<Failure>> {
        let stages = [Stage::RegistrationToken];
        let wanted = Wanted { action: "POST /register", user: None, flows: &[&stages] };
        let auth = json!({ "type": "m.login.registration_token", "token": "token" });
        let Value::Object(body) = json!({ "auth": auth }) else { unreachable!() };
        match uia::authenticate(&test.engine, &wanted, body).await.unwrap() {
            Outcome::Proceed(proof) => Ok(proof),
            Outcome::Continue { failure, .. } => Err(failure),
        }
    }

    #[tokio::test]
    async fn of_many_who_hold_a_token_as_many_register_as_it_is_for() {
        on_each_database(async |test| {
            add_token(&test, Some(3), None).await;
            let mut proofs = Vec::new();
            for _ in 0..8 {
                proofs.push(show_token(&test).await.unwrap());
            }
            let register = proofs.iter().enumerate().map(async |(number, proof)| {
                let name = Some(format!("user{number}"));
                register(&test.engine, NewAccount { name, ..NewAccount::default() }, proof).await
            });
            let outcomes = join_all(register).await;
            let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            let late = |it: &&Result<_, _>| matches!(it, Err(RegisterError::UsedUp));
            assert_eq!((made, outcomes.iter().filter(late).count()), (3, 5));
            assert_eq!(show_token(&test).await.unwrap_err(), Some(Failure::Wrong));
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_token_that_expires_meanwhile_registers_nobody() {
        on_each_database(async |test| {
            let expires = test.engine.clock.now_ms() + 1_000;
            add_token(&test, None, Some(expires)).await;
            let proof = show_token(&test).await.unwrap();
            let second = show_token(&test).await.unwrap();
            register(&test.engine, NewAccount::default(), &proof).await.unwrap();
            test.clock.advance(1_000);
            let late = register(&test.engine, NewAccount::default(), &second).await;
            assert!(matches!(late, Err(RegisterError::UsedUp)));
            assert_eq!(show_token(&test).await.unwrap_err(), Some(Failure::Wrong));
            test
        })
        .await
        .unwrap();
    }
}

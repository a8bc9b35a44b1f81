//! Application services act for the users in their namespaces: by their token and the user's name.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#identity-assertion>

use std::sync::Arc;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{self, UserRow, devices, flags},
};

use super::{
    Session, names,
    tokens::{self, Hash},
};
use crate::{Engine, Internal, appservices::ApplicationService};

/// For whom an application service acts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> {
    /// The user; `None`: its own.
    pub user_id: Option<&'a str>,
    /// One of the user's devices.
    pub device_id: Option<&'a str>,
}

/// Why an application service may not act for somebody.
#[derive(Debug, thiserror::Error)]
pub enum MasqueradeError {
    /// That is no user.
    #[error("this is no user")]
    NoUser,
    /// The user is in none of its namespaces.
    #[error("the user is in no namespace of the application service")]
    NotItsOwn,
    /// The user has not been registered.
    #[error("the application service has not registered this user")]
    Unregistered,
    /// The account is no more.
    #[error("the account is deactivated")]
    Deactivated,
    /// The user has no such device.
    #[error("the user has no such device")]
    UnknownDevice,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The session of an application service that acts for a user. Without a device, its `device_id` is
/// empty.
///
/// # Errors
///
/// [`MasqueradeError`].
pub async fn authenticate(
    engine: &Engine,
    service: &Arc<ApplicationService>,
    mask: Mask<'_>,
) -> Result<Session, MasqueradeError> {
    let user_id = match mask.user_id {
        Some(user_id) => UserId::parse(user_id).map_err(|_| MasqueradeError::NoUser)?,
        None => service.sender.clone(),
    };
    if !service.has_user(&user_id) {
        return Err(MasqueradeError::NotItsOwn);
    }
    // No token of a user looks like this.
    let device = mask.device_id.unwrap_or_default();
    let key = Hash::of(&format!("{}\0{user_id}\0{device}", service.as_token));
    let cache = &engine.accounts.sessions;
    if let Some(session) = cache.get(&key, engine.clock.now_ms()) {
        return Ok(session);
    }
    let revocations = cache.revocations();
    let session = look_up(engine, service, user_id, mask.device_id, key).await?;
    cache.put(key, session.clone(), engine.clock.now_ms(), revocations);
    Ok(session)
}

async fn look_up(
    engine: &Engine,
    service: &Arc<ApplicationService>,
    user_id: OwnedUserId,
    device_id: Option<&str>,
    token: Hash,
) -> Result<Session, MasqueradeError> {
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let account = accounts::user(&mut conn, user_id.as_str()).await.map_err(Internal::from)?;
    let account = account.ok_or(MasqueradeError::Unregistered)?;
    if account.deactivated_ts.is_some() {
        return Err(MasqueradeError::Deactivated);
    }
    if let Some(device_id) = device_id {
        let device = devices::get(&mut conn, user_id.as_str(), device_id).await;
        device.map_err(Internal::from)?.ok_or(MasqueradeError::UnknownDevice)?;
    }
    // Who is only in a namespace that others may use too is somebody: their power over the server is not
    // the application service's.
    let lent =
        if service.keeps_user(&user_id) { account.flags } else { account.flags & !flags::ADMIN };
    Ok(Session {
        device_id: OwnedDeviceId::from(device_id.unwrap_or_default()),
        appservice: Some(service.clone()),
        // What is said of the user is heeded when they ask themselves.
        rate_limit: None,
        user_id,
        token,
        flags: lent,
    })
}

/// Makes the own users of all application services that are not there yet.
///
/// # Errors
///
/// When the database fails.
pub async fn make_senders(engine: &Engine) -> Result<(), Internal> {
    for service in engine.config.appservices.iter() {
        match names::account(engine, &service.sender).await? {
            None => make_sender(engine, service).await?,
            Some(account) if account.appservice_id.as_deref() != Some(&*service.id) => {
                tracing::warn!(appservice.id = service.id, user.id = %service.sender,
                    "the user of an application service is an account that somebody else made");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

async fn make_sender(engine: &Engine, service: &ApplicationService) -> Result<(), Internal> {
    let mut change = Change::new();
    change.claim(Claim::NewUser(UserRow {
        user_id: service.sender.to_string(),
        appservice_id: Some(service.id.clone()),
        created_ts: engine.clock.now_ms(),
        ..UserRow::default()
    }));
    super::directory::follow::name(&mut change, &service.sender, None);
    match engine.storage.commit(change).await {
        // Another process was faster.
        Ok(_) | Err(CommitError::NameTaken) => {
            tokens::revoked(engine);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The user whom a name means, if it is one for whom the application service may log in.
///
/// # Errors
///
/// [`MasqueradeError::NotItsOwn`], or that the server failed. Nobody of that name is `Ok(None)`.
pub(crate) async fn account(
    engine: &Engine,
    service: &ApplicationService,
    named: &str,
) -> Result<Option<UserRow>, MasqueradeError> {
    let Some(account) = names::find(engine, named).await? else {
        let user_id = names::user_id(engine, named).ok_or(MasqueradeError::NoUser)?;
        return match service.has_user(&user_id) {
            true => Ok(None),
            false => Err(MasqueradeError::NotItsOwn),
        };
    };
    match <&UserId>::try_from(account.user_id.as_str()) {
        Ok(user_id) if service.has_user(user_id) => Ok(Some(account)),
        _ => Err(MasqueradeError::NotItsOwn),
    }
}

impl Session {
    /// The device; `None` when an application service acts without one.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        (!self.device_id.as_str().is_empty()).then_some(&*self.device_id)
    }

    /// Whether it is limited how often this session may do things.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.appservice.as_ref().is_none_or(|service| service.limits(&self.user_id))
    }
}

//! A session as it is worked on, and how it is kept.

use ruma::{OwnedUserId, UserId};
use serde_json::Value;
use starling_storage::{
    Change,
    accounts::{
        self,
        uia::{self as rows, SessionRow, Write},
    },
};

use super::{LIFETIME_MS, Object, Proof, Stage, UiaError, Wanted};
use crate::{
    Engine, Internal,
    accounts::{
        emails::{self, Validated},
        threepids,
    },
    rng,
};

/// How large a body is that a session keeps for a user, in bytes.
const MOST_OF_USERS: usize = 64 * 1024;

/// How large one is for somebody who registers: anybody can make such sessions.
const MOST_OF_STRANGERS: usize = 8 * 1024;

/// Fields of bodies that are never stored.
const SECRETS: [&str; 3] = ["password", "new_password", "guest_access_token"];

pub(super) struct Session {
    pub(super) id: String,
    pub(super) action: String,
    pub(super) user: Option<String>,
    body: Object,
    bound: Object,
    pub(super) completed: Vec<String>,
    pub(super) registration_token: Option<String>,
    pub(super) email_session: Option<String>,
    pub(super) proved: Option<OwnedUserId>,
    created_ts: i64,
}

impl Session {
    pub(super) fn new(engine: &Engine, wanted: &Wanted<'_>) -> Self {
        Self {
            id: rng::token::<18>(),
            action: wanted.action.to_owned(),
            user: wanted.user.map(ToString::to_string),
            body: Object::new(),
            bound: Object::new(),
            completed: Vec::new(),
            registration_token: None,
            email_session: None,
            proved: None,
            created_ts: engine.clock.now_ms(),
        }
    }

    fn from_row(row: SessionRow) -> Result<Self, Internal> {
        let bound: Object = serde_json::from_str(&row.body)?;
        Ok(Self {
            id: row.session_id,
            action: row.action,
            user: row.user_id,
            body: bound.clone(),
            bound,
            completed: serde_json::from_str(&row.completed)?,
            registration_token: row.registration_token,
            email_session: row.email_session,
            proved: None,
            created_ts: row.created_ts,
        })
    }

    /// Takes the body of this request. One that has nothing new to say may be empty; one that says
    /// something must say what the first one said. A first one that says nothing binds nothing
    /// until a stage is done: clients ask for the stages that way.
    pub(super) fn take_body(&mut self, wanted: &Wanted<'_>, body: Object) -> Result<(), UiaError> {
        if self.action != wanted.action || self.user.as_deref() != wanted.user.map(UserId::as_str) {
            return Err(UiaError::Changed);
        }
        let says = without_secrets(&body);
        if self.bound.is_empty() && self.completed.is_empty() {
            self.bound = says;
        } else if !says.is_empty() && says != self.bound {
            return Err(UiaError::Changed);
        }
        self.body.extend(body);
        Ok(())
    }

    pub(super) fn is_done(&self, stage: Stage) -> bool {
        self.completed.iter().any(|done| done == stage.name())
    }

    pub(super) fn is_enough(&self, wanted: &Wanted<'_>) -> bool {
        wanted.flows.iter().any(|flow| flow.iter().all(|stage| self.is_done(*stage)))
    }

    /// The address that was shown, and with it who has proved themselves, if it is to say so. A
    /// session that has expired or served meanwhile is no stage that is done.
    pub(super) async fn take_email(
        &mut self,
        engine: &Engine,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Validated>, UiaError> {
        let Some(email_session) = &self.email_session else { return Ok(None) };
        let stages = wanted.flows.iter().flat_map(|flow| flow.iter());
        let mut found = stages.filter_map(|stage| match stage {
            Stage::Email(purpose) => Some((*stage, *purpose)),
            _ => None,
        });
        let Some((stage, purpose)) = found.next() else { return Ok(None) };
        let validated = emails::validated_before(engine, email_session, purpose).await?;
        let owner = match &validated {
            Some(validated) => threepids::owner(engine, &validated.address).await?,
            None => None,
        };
        if validated.is_none() || (purpose == emails::Purpose::Password && owner.is_none()) {
            self.completed.retain(|done| done != stage.name());
            return Ok(None);
        }
        if purpose == emails::Purpose::Password {
            self.proved = owner;
        }
        Ok(validated)
    }

    pub(super) fn into_proof(self, is_new: bool, email: Option<Validated>) -> Proof {
        Proof {
            body: self.body,
            user: self.proved,
            registration_token: self.registration_token,
            email,
            session: (!is_new).then_some(self.id),
        }
    }

    pub(super) async fn store(&self, engine: &Engine) -> Result<(), UiaError> {
        let body = serde_json::to_string(&self.bound).map_err(Internal::from)?;
        let most = if self.user.is_some() { MOST_OF_USERS } else { MOST_OF_STRANGERS };
        if body.len() > most {
            return Err(UiaError::TooLarge);
        }
        let mut change = Change::new();
        change.write(accounts::Write::Uia(Write::Put(SessionRow {
            session_id: self.id.clone(),
            action: self.action.clone(),
            user_id: self.user.clone(),
            body,
            completed: serde_json::to_string(&self.completed).map_err(Internal::from)?,
            registration_token: self.registration_token.clone(),
            email_session: self.email_session.clone(),
            created_ts: self.created_ts,
        })));
        engine.storage.commit(change).await.map_err(Internal::from)?;
        Ok(())
    }
}

/// The session of that id, if there is one that has not expired.
pub(super) async fn find(engine: &Engine, id: Option<&str>) -> Result<Option<Session>, Internal> {
    let Some(id) = id else { return Ok(None) };
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, id).await?;
    let is_alive = |row: &SessionRow| engine.clock.now_ms() < row.created_ts + LIFETIME_MS;
    row.filter(is_alive).map(Session::from_row).transpose()
}

fn without_secrets(body: &Object) -> Object {
    let is_public = |(key, _): &(&String, &Value)| !SECRETS.contains(&key.as_str());
    body.iter().filter(is_public).map(|(key, value)| (key.clone(), value.clone())).collect()
}

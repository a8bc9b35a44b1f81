//! A session as it is worked on, and how it is kept.

use ruma::{OwnedUserId, UserId};
use serde_json::Value;
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{
        self,
        uia::{self as rows, Progress, SessionRow, Write},
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
    pub(super) password_hash: Option<String>,
    created_ts: i64,
    found: Option<SessionRow>,
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
            password_hash: None,
            created_ts: engine.clock.now_ms(),
            found: None,
        }
    }

    fn from_row(row: SessionRow) -> Result<Self, Internal> {
        let bound: Object = serde_json::from_str(&row.body)?;
        let found = Some(row.clone());
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
            password_hash: None,
            created_ts: row.created_ts,
            found,
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
            self.password_hash = None;
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
            password_hash: self.password_hash,
        }
    }

    /// Keeps a new session.
    pub(super) async fn add(self, engine: &Engine) -> Result<Self, UiaError> {
        let mut change = Change::new();
        change.write(accounts::Write::Uia(Write::Add(self.row()?)));
        engine.storage.commit(change).await.map_err(Internal::from)?;
        Ok(self)
    }

    /// Keeps the progress of a session that was there, together with what other requests have brought
    /// about meanwhile. `None` when one of them ended it: what has served must not come back.
    pub(super) async fn go_on(mut self, engine: &Engine) -> Result<Option<Self>, UiaError> {
        while let Some(before) = self.found.clone() {
            let row = self.row()?;
            let (completed_before, body_before) = (before.completed, before.body);
            let mut change = Change::new();
            change.claim(Claim::Uia(Progress { row, completed_before, body_before }));
            match engine.storage.commit(change).await {
                Ok(_) => return Ok(Some(self)),
                Err(CommitError::UsedUp) => {}
                Err(error) => return Err(Internal::from(error).into()),
            }
            let Some(now) = find(engine, Some(&self.id)).await? else { return Ok(None) };
            self.join(now)?;
        }
        Ok(None)
    }

    /// Takes over what other requests have stored since this one looked.
    fn join(&mut self, now: Self) -> Result<(), UiaError> {
        let is_free = now.bound.is_empty() && now.completed.is_empty();
        if self.bound.is_empty() {
            self.bound = now.bound;
        } else if self.bound != now.bound && !is_free {
            return Err(UiaError::Changed);
        }
        let is_new = |stage: &String| !self.completed.contains(stage);
        let more: Vec<String> = now.completed.into_iter().filter(is_new).collect();
        self.completed.extend(more);
        self.registration_token = self.registration_token.take().or(now.registration_token);
        self.email_session = self.email_session.take().or(now.email_session);
        self.found = now.found;
        Ok(())
    }

    fn row(&self) -> Result<SessionRow, UiaError> {
        let body = serde_json::to_string(&self.bound).map_err(Internal::from)?;
        let most = if self.user.is_some() { MOST_OF_USERS } else { MOST_OF_STRANGERS };
        if body.len() > most {
            return Err(UiaError::TooLarge);
        }
        Ok(SessionRow {
            session_id: self.id.clone(),
            action: self.action.clone(),
            user_id: self.user.clone(),
            body,
            completed: serde_json::to_string(&self.completed).map_err(Internal::from)?,
            registration_token: self.registration_token.clone(),
            email_session: self.email_session.clone(),
            created_ts: self.created_ts,
        })
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use starling_storage::accounts::Once;

    use super::*;
    use crate::testing::{TestEngine, on_each_database};

    const FLOWS: &[&[Stage]] = &[&[Stage::Terms, Stage::Dummy]];
    const WANTED: Wanted<'static> = Wanted { action: "POST /x", user: None, flows: FLOWS };

    async fn begin(test: &TestEngine) -> String {
        Session::new(&test.engine, &WANTED).add(&test.engine).await.unwrap().id
    }

    async fn seen(test: &TestEngine, id: &str) -> Session {
        find(&test.engine, Some(id)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_session_that_has_served_does_not_come_back() {
        on_each_database(async |test| {
            let id = begin(&test).await;
            let mut slow = seen(&test, &id).await;
            slow.completed.push("m.login.terms".to_owned());
            let mut change = Change::new();
            change.claim(Claim::Once(Once::UiaSession(id.clone())));
            test.engine.storage.commit(change).await.unwrap();
            assert!(slow.go_on(&test.engine).await.unwrap().is_none());
            assert!(find(&test.engine, Some(&id)).await.unwrap().is_none());
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn stages_that_are_passed_at_the_same_time_are_all_done() {
        on_each_database(async |test| {
            let id = begin(&test).await;
            let (mut first, mut second) = (seen(&test, &id).await, seen(&test, &id).await);
            first.completed.push("m.login.terms".to_owned());
            second.completed.push("m.login.dummy".to_owned());
            second.registration_token = Some("token".to_owned());
            first.go_on(&test.engine).await.unwrap().unwrap();
            let second = second.go_on(&test.engine).await.unwrap().unwrap();
            assert!(second.is_enough(&WANTED));
            let now = seen(&test, &id).await;
            assert!(now.is_enough(&WANTED));
            assert_eq!(now.registration_token.as_deref(), Some("token"));
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn of_two_bodies_one_is_bound() {
        on_each_database(async |test| {
            let id = begin(&test).await;
            let (mut first, mut second) = (seen(&test, &id).await, seen(&test, &id).await);
            for (session, value) in [(&mut first, 1), (&mut second, 2)] {
                let Value::Object(body) = json!({ "a": value }) else { unreachable!() };
                session.take_body(&WANTED, body).unwrap();
                session.completed.push("m.login.terms".to_owned());
            }
            first.go_on(&test.engine).await.unwrap().unwrap();
            assert!(matches!(second.go_on(&test.engine).await, Err(UiaError::Changed)));
            assert_eq!(seen(&test, &id).await.bound["a"], 1);
            test
        })
        .await
        .unwrap();
    }
}

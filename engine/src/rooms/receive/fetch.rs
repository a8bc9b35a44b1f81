//! Asking a server for events of a room. Every event that comes back is verified and of the room.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::Method;
use ruma::{
    OwnedEventId, RoomId, ServerName, api::Direction, room_version_rules::RoomVersionRules,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Budget, intake, texts::Texts};
use crate::{
    Engine,
    ask::{self, AskError},
    at_most::AtMost,
    events::Pdu,
    internal::Internal,
    reading::moments::Moment,
    remote::Limits,
};

/// For single events and lists of IDs.
const SMALL: Limits = Limits { timeout: Duration::from_secs(20), max_body: 8 * 1024 * 1024 };
/// For whole states and auth chains.
const LARGE: Limits = Limits { timeout: Duration::from_secs(90), max_body: 128 * 1024 * 1024 };
/// For the states of large rooms.
const WHOLE: Limits = Limits { timeout: Duration::from_secs(180), max_body: 256 * 1024 * 1024 };
/// How many events one answer may hold.
const MAX_EVENTS: usize = 100_000;
/// How many events a whole state and its auth chain may have, as for a room that is taken over.
const MAX_STATE: usize = 250_000;

/// Whom to ask about which room.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The server.
    pub server: &'a ServerName,
    /// The room.
    pub room_id: &'a RoomId,
    /// What holds in the room's version.
    pub rules: &'a RoomVersionRules,
}

/// Events of an answer, unread.
type Pdus = AtMost<Box<RawValue>, MAX_EVENTS>;

/// Verified events by their IDs.
pub type Events = HashMap<OwnedEventId, Arc<Pdu>>;

/// The state before an event as a server has it.
#[derive(Debug, Deserialize)]
pub struct StateIds {
    /// The state events.
    pub pdu_ids: AtMost<OwnedEventId, MAX_STATE>,
    /// What authorises them.
    pub auth_chain_ids: AtMost<OwnedEventId, MAX_STATE>,
}

impl Peer<'_> {
    /// Events between those that are known and one that is not understood, oldest first as far as
    /// the server says.
    ///
    /// # Errors
    ///
    /// When our own database fails. A server that does not answer gives nothing.
    pub async fn missing_events(
        &self,
        budget: &mut Budget,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Arc<Pdu>>, Internal> {
        #[derive(Deserialize)]
        struct Answer {
            events: Pdus,
        }
        if !budget.take() {
            return Ok(Vec::new());
        }
        let body = json!({
            "earliest_events": earliest, "latest_events": latest, "limit": limit, "min_depth": 0,
        });
        let path = ask::path("v1/get_missing_events", &[self.room_id.as_str()]);
        let answer: Result<Answer, _> =
            ask::send(self.engine, self.server, Method::POST, path, &body, SMALL).await;
        let mut events = self.answered(answer).map(|it| it.events.0).unwrap_or_default();
        events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        self.verified(events).await
    }

    /// One event.
    ///
    /// # Errors
    ///
    /// When our own database fails.
    pub async fn event(
        &self,
        budget: &mut Budget,
        event_id: &OwnedEventId,
    ) -> Result<Option<Arc<Pdu>>, Internal> {
        #[derive(Deserialize)]
        struct Answer {
            pdus: Pdus,
        }
        if !budget.take() {
            return Ok(None);
        }
        let path = ask::path("v1/event", &[event_id.as_str()]);
        let answer: Result<Answer, _> = ask::get(self.engine, self.server, path, SMALL).await;
        let mut pdus = self.answered(answer).map(|it| it.pdus.0).unwrap_or_default();
        pdus.truncate(1);
        let events = self.verified(pdus).await?;
        // A server that answers with another event than was asked for answers nothing.
        Ok(events.into_iter().find(|pdu| pdu.event_id == *event_id))
    }

    /// The IDs of the state before an event.
    pub async fn state_ids(
        &self,
        budget: &mut Budget,
        event_id: &OwnedEventId,
    ) -> Option<StateIds> {
        if !budget.take() {
            return None;
        }
        let path = ask::path("v1/state_ids", &[self.room_id.as_str()]);
        let path = ask::query(path, &[("event_id", event_id.as_str())]);
        let answer = ask::get(self.engine, self.server, path, LARGE).await;
        self.answered(answer)
            .filter(|ids: &StateIds| ids.pdu_ids.0.len() + ids.auth_chain_ids.0.len() <= MAX_STATE)
    }

    /// The events of the state before an event, and of its auth chain.
    ///
    /// # Errors
    ///
    /// When our own database fails.
    pub async fn state(
        &self,
        budget: &mut Budget,
        event_id: &OwnedEventId,
    ) -> Result<Events, Internal> {
        #[derive(Deserialize)]
        struct Answer {
            pdus: Pdus,
            auth_chain: Pdus,
        }
        if !budget.take() {
            return Ok(Events::new());
        }
        let path = ask::path("v1/state", &[self.room_id.as_str()]);
        let path = ask::query(path, &[("event_id", event_id.as_str())]);
        let answer: Result<Answer, _> = ask::get(self.engine, self.server, path, LARGE).await;
        let Some(Answer { mut pdus, auth_chain }) = self.answered(answer) else {
            return Ok(Events::new());
        };
        pdus.0.extend(auth_chain.0);
        self.by_id(pdus.0).await
    }

    /// The events of the state before an event and of its auth chain, unread.
    pub async fn state_texts(&self, budget: &mut Budget, event_id: &OwnedEventId) -> Option<Texts> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            pdus: AtMost<&'a RawValue, MAX_STATE>,
            #[serde(borrow)]
            auth_chain: AtMost<&'a RawValue, MAX_STATE>,
        }
        if !budget.take() {
            return None;
        }
        let path = ask::path("v1/state", &[self.room_id.as_str()]);
        let path = ask::query(path, &[("event_id", event_id.as_str())]);
        let body = self.answered(ask::get_body(self.engine, self.server, path, WHOLE).await)?;
        let answer = serde_json::from_slice::<Answer<'_>>(&body);
        let answer = answer.map_err(|error| AskError::Malformed(error.to_string()));
        let Answer { pdus, mut auth_chain } = self.answered(answer)?;
        auth_chain.0.extend(pdus.0);
        auth_chain.0.truncate(MAX_STATE);
        Some(Texts::of(&body, &auth_chain.0))
    }

    /// The auth chain of an event.
    ///
    /// # Errors
    ///
    /// When our own database fails.
    pub async fn auth_chain(
        &self,
        budget: &mut Budget,
        event_id: &OwnedEventId,
    ) -> Result<Events, Internal> {
        #[derive(Deserialize)]
        struct Answer {
            auth_chain: Pdus,
        }
        if !budget.take() {
            return Ok(Events::new());
        }
        let path = ask::path("v1/event_auth", &[self.room_id.as_str(), event_id.as_str()]);
        let answer: Result<Answer, _> = ask::get(self.engine, self.server, path, LARGE).await;
        let chain = self.answered(answer).map(|it| it.auth_chain.0).unwrap_or_default();
        self.by_id(chain).await
    }

    /// Events before and including some, newest first as far as the server says.
    ///
    /// # Errors
    ///
    /// When our own database fails.
    pub async fn backfill(
        &self,
        budget: &mut Budget,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Arc<Pdu>>, Internal> {
        #[derive(Deserialize)]
        struct Answer {
            pdus: Pdus,
        }
        if !budget.take() {
            return Ok(Vec::new());
        }
        let count = limit.to_string();
        let mut parameters = vec![("limit", count.as_str())];
        parameters.extend(from.iter().map(|id| ("v", id.as_str())));
        let path = ask::query(ask::path("v1/backfill", &[self.room_id.as_str()]), &parameters);
        let answer: Result<Answer, _> = ask::get(self.engine, self.server, path, SMALL).await;
        let mut pdus = self.answered(answer).map(|it| it.pdus.0).unwrap_or_default();
        pdus.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        self.verified(pdus).await
    }

    /// The event that is closest to a time, as the server says.
    pub async fn closest(
        &self,
        budget: &mut Budget,
        ts: i64,
        direction: Direction,
    ) -> Option<Moment> {
        if !budget.take() {
            return None;
        }
        let direction = match direction {
            Direction::Forward => "f",
            Direction::Backward => "b",
        };
        let path = ask::path("v1/timestamp_to_event", &[self.room_id.as_str()]);
        let path = ask::query(path, &[("ts", &ts.to_string()), ("dir", direction)]);
        self.answered(ask::get(self.engine, self.server, path, SMALL).await)
    }

    async fn by_id(&self, mut pdus: Vec<Box<RawValue>>) -> Result<Events, Internal> {
        pdus.truncate(MAX_EVENTS);
        let events = self.verified(pdus).await?;
        Ok(events.into_iter().map(|pdu| (pdu.event_id.clone(), pdu)).collect())
    }

    async fn verified(&self, pdus: Vec<Box<RawValue>>) -> Result<Vec<Arc<Pdu>>, Internal> {
        let taken = intake::take(self.engine, self.room_id, self.rules, &pdus).await?;
        let mut events = Vec::with_capacity(taken.len());
        for outcome in taken {
            match outcome {
                Ok(pdu) => events.push(pdu),
                Err(refused) => tracing::info!(
                    server.name = %self.server, event.id = ?refused.event_id,
                    reason = refused.reason, "A fetched event is dropped"
                ),
            }
        }
        Ok(events)
    }

    fn answered<T>(&self, answer: Result<T, AskError>) -> Option<T> {
        answer
            .inspect_err(|error| {
                tracing::info!(server.name = %self.server, room.id = %self.room_id, %error,
                    "A question about a room was not answered");
            })
            .ok()
    }
}

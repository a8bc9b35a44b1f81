//! Events as a client asked to see them: shape, fields, and what the server says beside them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, events::room::member::MembershipState};
use serde_json::value::RawValue;

use super::{
    bundle::Bundles,
    fields::Fields,
    filter::{EventFormat, Filter},
    reader::Reader,
};
use crate::{
    Internal,
    accounts::erasure,
    events::{
        StoredEvent,
        client::{self, Shape, Unsigned},
        redact, store,
    },
};

/// In which form a client wants events.
#[derive(Clone, Debug)]
pub struct Form {
    shape: Shape,
    fields: Option<Fields>,
}

impl Form {
    /// The same, with all fields.
    pub(super) fn without_fields(&self) -> Self {
        Self { shape: self.shape, fields: None }
    }

    /// Whole events for clients that name their room.
    #[must_use]
    pub fn whole() -> Self {
        Self { shape: Shape::Client { room_id: true }, fields: None }
    }

    /// Whole events where the room stands beside them.
    #[must_use]
    pub fn bare() -> Self {
        Self { shape: Shape::Client { room_id: false }, fields: None }
    }

    /// What a filter of /sync says; the room stands around the events there.
    #[must_use]
    pub fn of(filter: &Filter) -> Self {
        let shape = match filter.event_format {
            EventFormat::Client => Shape::Client { room_id: false },
            EventFormat::Federation => Shape::Federation,
        };
        Self { shape, fields: filter.event_fields.as_deref().map(Fields::new) }
    }
}

/// An event of the timeline that somebody may see.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// Its place in the timeline.
    pub pos: i64,
    /// What the reader was in the room when it happened.
    pub membership: MembershipState,
}

impl Reader {
    /// Shows events of the timeline.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn show(&self, events: &[Seen], form: &Form) -> Result<Vec<Box<RawValue>>, Internal> {
        self.show_with(events, form, &Bundles::new()).await
    }

    /// Shows events of the timeline with what is said of those that relate to them.
    pub(super) async fn show_with(
        &self,
        events: &[Seen],
        form: &Form,
        bundles: &Bundles,
    ) -> Result<Vec<Box<RawValue>>, Internal> {
        let transactions = self.transactions(events).await;
        let emptied = self.emptied(events.iter()).await?;
        let mut shown = Vec::with_capacity(events.len());
        for Seen { event, membership, .. } in events {
            if emptied.contains(&event.pdu.event_id) {
                shown.push(self.without_content(event, form)?);
                continue;
            }
            let mut unsigned = self.unsigned(event, form).await?;
            unsigned.membership = Some(membership.to_string());
            unsigned.transaction_id =
                transactions.get(&*event.pdu.event_id).map(|&id| id.to_owned());
            unsigned.relations = bundles.get(&event.pdu.event_id).cloned();
            self.add_replaced(event, &mut unsigned).await?;
            shown.push(self.form(event, &unsigned, form)?);
        }
        Ok(shown)
    }

    /// Shows events of the room's state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn show_state(
        &self,
        events: &[Arc<StoredEvent>],
        form: &Form,
    ) -> Result<Vec<Box<RawValue>>, Internal> {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            let unsigned = self.unsigned(event, form).await?;
            shown.push(self.form(event, &unsigned, form)?);
        }
        Ok(shown)
    }

    /// Shows an event to an application service, which is nobody in the room itself.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn show_to_service(
        &self,
        event: &StoredEvent,
        form: &Form,
    ) -> Result<Box<RawValue>, Internal> {
        let mut unsigned = self.unsigned(event, form).await?;
        self.add_replaced(event, &mut unsigned).await?;
        self.form(event, &unsigned, form)
    }

    /// Which of some events the reader sees without their content: they were not there, and the sender
    /// asked that what they said be erased.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn emptied<'a>(
        &self,
        events: impl Iterator<Item = &'a Seen> + Clone,
    ) -> Result<HashSet<OwnedEventId>, Internal> {
        let absent = events.filter(|seen| seen.membership != MembershipState::Join);
        let senders = absent.clone().map(|seen| &*seen.event.pdu.sender);
        let erased = erasure::erased(&self.engine, senders).await?;
        let emptied = absent.filter(|seen| erased.contains(&seen.event.pdu.sender));
        Ok(emptied.map(|seen| seen.event.pdu.event_id.clone()).collect())
    }

    /// What redaction would leave of an event.
    fn without_content(&self, event: &StoredEvent, form: &Form) -> Result<Box<RawValue>, Internal> {
        let left = redact::redact(&event.pdu, self.rules());
        let left = left.map_err(|error| Internal::Damaged(error.to_string()))?;
        let whole = client::to_client(&left, &Unsigned::default(), form.shape, self.rules())?;
        match &form.fields {
            Some(fields) => Ok(fields.pick(&whole)?),
            None => Ok(whole),
        }
    }

    fn form(
        &self,
        event: &StoredEvent,
        unsigned: &Unsigned,
        form: &Form,
    ) -> Result<Box<RawValue>, Internal> {
        let whole = client::to_client(&event.pdu, unsigned, form.shape, self.rules())?;
        match &form.fields {
            Some(fields) => Ok(fields.pick(&whole)?),
            None => Ok(whole),
        }
    }

    async fn unsigned(&self, event: &StoredEvent, form: &Form) -> Result<Unsigned, Internal> {
        let sent = i64::from(event.pdu.origin_server_ts.get());
        let age = self.engine.clock.now_ms().saturating_sub(sent).max(0);
        let mut unsigned = Unsigned { age: Some(age), ..Unsigned::default() };
        if let Some(redaction) = &event.redacted_by {
            unsigned.redacted_because = self.redaction(redaction, form).await?;
        }
        Ok(unsigned)
    }

    async fn redaction(
        &self,
        event_id: &OwnedEventId,
        form: &Form,
    ) -> Result<Option<Box<RawValue>>, Internal> {
        let Some(event) = store::get(&self.engine, &self.room_id, event_id).await? else {
            return Ok(None);
        };
        let shape = match form.shape {
            Shape::Federation => Shape::Client { room_id: true },
            shape @ Shape::Client { .. } => shape,
        };
        let unsigned = Unsigned::default();
        Ok(Some(client::to_client(&event.pdu, &unsigned, shape, self.rules())?))
    }

    /// What a state event replaced.
    async fn add_replaced(
        &self,
        event: &StoredEvent,
        unsigned: &mut Unsigned,
    ) -> Result<(), Internal> {
        let (Some((kind, state_key)), Some(root)) = (event.pdu.key(), event.state_before) else {
            return Ok(());
        };
        let Some(replaced) = self.state_event(root, kind, &state_key).await? else { return Ok(()) };
        unsigned.prev_content = Some(replaced.pdu.content.clone());
        unsigned.replaces_state = Some(replaced.pdu.event_id.clone());
        unsigned.prev_sender = Some(replaced.pdu.sender.clone());
        Ok(())
    }

    /// The transaction IDs by which the reading device sent some of the events, once it has been answered.
    async fn transactions<'a>(&self, events: &'a [Seen]) -> HashMap<&'a EventId, &'a str> {
        let Some(device_id) = &self.device_id else { return HashMap::new() };
        let own = events.iter().filter(|seen| seen.event.pdu.sender == self.user_id);
        let of_device = own.filter_map(|Seen { event, .. }| {
            let by = event.sent_by.as_deref().filter(|by| device_id == &*by.device_id)?;
            Some((&*event.pdu.event_id, &*by.txn_id))
        });
        let txn_ids: HashMap<_, _> = of_device.collect();
        if !txn_ids.is_empty() {
            let answering = &self.engine.answering;
            answering.answered(&self.user_id, device_id, txn_ids.values().copied()).await;
        }
        txn_ids
    }
}

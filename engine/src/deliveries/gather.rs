//! What an application service is told next.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId};
use serde_json::{Value, json, value::RawValue};
use starling_storage::{
    Fact, Positioned, facts,
    memberships::{self, MembershipRow},
    receipts::{self, ReceiptRow},
};

use super::{encryption, interest::Interests};
use crate::{
    Engine, Internal,
    appservices::ApplicationService,
    encryption::news::DeviceLists,
    events::{
        StoredEvent,
        client::{self, Shape, Unsigned},
        store,
    },
    reading::{reader::Reader, show::Form},
};

/// How many facts are looked at at a time.
const FACTS: i64 = 200;

/// How many events, with messages to devices, a transaction has at most.
pub(super) const MOST_EVENTS: usize = 100;

/// How large its events may be together, in bytes; one always fits.
const LARGEST: usize = 1 << 20;

/// What there is to tell.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Events, in the order in which they happened.
    pub(super) events: Vec<Box<RawValue>>,
    /// Receipts, as ephemeral events.
    pub(super) receipts: Vec<Value>,
    /// Messages to devices of its users.
    pub(super) to_device: Vec<Box<RawValue>>,
    /// Its users whose devices got those, or changed.
    pub(super) users: BTreeSet<String>,
    /// Whose devices changed.
    pub(super) device_lists: DeviceLists,
    /// Everything up to here is in it, or of no interest.
    pub(super) pos: i64,
}

impl Page {
    /// Whether there is anything that must not be lost.
    pub(super) fn is_lasting(&self) -> bool {
        !self.events.is_empty()
            || !self.to_device.is_empty()
            || self.device_lists != DeviceLists::default()
    }

    fn count(&self) -> usize {
        self.events.len() + self.to_device.len()
    }
}

/// What happened after `after`: at most one transaction full.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn page(
    engine: &Engine,
    service: &Arc<ApplicationService>,
    interests: &mut Interests,
    after: i64,
) -> Result<Page, Internal> {
    let head = engine.storage.feed().head();
    let mut page = Page { pos: after.min(head), ..Page::default() };
    let mut conn = engine.storage.read().await?;
    let facts = facts::between(&mut conn, page.pos, head, FACTS).await?;
    drop(conn);
    interests.hear(&facts);
    let mut rooms = Rooms::load(engine, service, &facts).await?;
    let mut size = 0;
    let mut read = Vec::new();
    for Positioned { pos, fact } in &facts {
        let mut messages = vec![];
        let told = match fact {
            Fact::Event { room_id, event_id, .. } => {
                rooms.event(interests, room_id, event_id, *pos).await?
            }
            Fact::Membership { user_id, room_id } => {
                outside(engine, service, user_id, room_id, *pos).await?
            }
            Fact::Receipt { room_id, user_id, private } => {
                read.push((room_id, user_id, *private, *pos));
                None
            }
            Fact::ToDevice { user_id } => {
                messages = encryption::messages(engine, service, user_id, *pos).await?;
                None
            }
            // The rest is for clients.
            _ => None,
        };
        let length: usize = told.iter().chain(&messages).map(|it| it.get().len()).sum();
        let is_full = page.count() >= MOST_EVENTS || size + length > LARGEST;
        if length > 0 && is_full && page.count() > 0 {
            break;
        }
        size += length;
        page.events.extend(told);
        page.to_device.extend(messages);
        if service.encrypts {
            devices(engine, service, interests, fact, &mut page).await?;
        }
        page.pos = *pos;
    }
    if service.receive_ephemeral {
        read.retain(|(.., pos)| *pos <= page.pos);
        page.receipts = receipts_of(engine, service, interests, &read).await?;
    }
    Ok(page)
}

/// What a fact means for its users' encryption.
async fn devices(
    engine: &Engine,
    service: &ApplicationService,
    interests: &mut Interests,
    fact: &Fact,
    page: &mut Page,
) -> Result<(), Internal> {
    let lists = &mut page.device_lists;
    match fact {
        Fact::Devices { user_id } => encryption::changed(lists, interests, user_id).await?,
        Fact::Event { room_id, member: Some(user_id), .. } => {
            encryption::moved(engine, lists, interests, user_id, room_id).await?;
        }
        _ => {}
    }
    if let Fact::ToDevice { user_id } | Fact::Devices { user_id } = fact
        && <&UserId>::try_from(user_id.as_str()).is_ok_and(|user_id| service.has_user(user_id))
    {
        page.users.insert(user_id.clone());
    }
    Ok(())
}

/// The events of a page, and how they are shown.
struct Rooms {
    rooms: HashMap<OwnedRoomId, (Reader, HashMap<OwnedEventId, Arc<StoredEvent>>)>,
}

impl Rooms {
    async fn load(
        engine: &Engine,
        service: &ApplicationService,
        facts: &[Positioned],
    ) -> Result<Self, Internal> {
        let mut ids: HashMap<OwnedRoomId, Vec<OwnedEventId>> = HashMap::new();
        for Positioned { fact, .. } in facts {
            if let Fact::Event { room_id, event_id, .. } = fact {
                let room_id = OwnedRoomId::try_from(room_id.as_str())?;
                ids.entry(room_id).or_default().push(event_id.as_str().try_into()?);
            }
        }
        let mut rooms = HashMap::with_capacity(ids.len());
        for (room_id, ids) in ids {
            let reader = Reader::new(engine, &room_id, &service.sender, None, None).await?;
            // A room that is there no more has nothing to tell.
            let Some(reader) = reader else { continue };
            let events = store::get_many(engine, &room_id, &ids).await?;
            rooms.insert(room_id, (reader, events));
        }
        Ok(Self { rooms })
    }

    /// An event as it is told, if the application service is interested.
    async fn event(
        &mut self,
        interests: &mut Interests,
        room_id: &str,
        event_id: &str,
        pos: i64,
    ) -> Result<Option<Box<RawValue>>, Internal> {
        let room_id = <&RoomId>::try_from(room_id)?;
        let Some((reader, events)) = self.rooms.get(room_id) else { return Ok(None) };
        let Some(event) = events.get(&OwnedEventId::try_from(event_id)?) else { return Ok(None) };
        if !event.is_visible() || !interests.in_event(event, pos).await? {
            return Ok(None);
        }
        Ok(Some(reader.show_to_service(event, &Form::whole()).await?))
    }
}

/// What one of its users became in a room that this server is not in: an invite, say.
async fn outside(
    engine: &Engine,
    service: &ApplicationService,
    user_id: &str,
    room_id: &str,
    pos: i64,
) -> Result<Option<Box<RawValue>>, Internal> {
    let user_id = <&UserId>::try_from(user_id)?;
    if !service.has_user(user_id) {
        return Ok(None);
    }
    let mut conn = engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id.as_str(), room_id).await?;
    drop(conn);
    // What was replaced by something else is told there.
    let Some(row) = row.filter(|row| row.pos == pos) else { return Ok(None) };
    let room_id = <&RoomId>::try_from(room_id)?;
    let reader = Reader::new(engine, room_id, user_id, None, Some(&row)).await?;
    let Some(reader) = reader else { return Ok(None) };
    let Some(event) = reader.own_event(&row).await? else { return Ok(None) };
    let unsigned = shown_outside(&row)?;
    let shape = Shape::Client { room_id: true };
    Ok(Some(client::to_client(&event.pdu, &unsigned, shape, reader.rules())?))
}

/// With an invite comes what helps to recognise the room.
fn shown_outside(row: &MembershipRow) -> Result<Unsigned, Internal> {
    let state = row.stripped_state.clone().map(RawValue::from_string).transpose()?;
    Ok(match &*row.membership {
        "invite" => Unsigned { invite_room_state: state, ..Unsigned::default() },
        "knock" => Unsigned { knock_room_state: state, ..Unsigned::default() },
        _ => Unsigned::default(),
    })
}

/// Receipts, as one event for each room and thread: in one map, a user's receipts of two threads for the
/// same event would be one.
async fn receipts_of(
    engine: &Engine,
    service: &ApplicationService,
    interests: &mut Interests,
    read: &[(&String, &String, bool, i64)],
) -> Result<Vec<Value>, Internal> {
    let (Some(first), Some(last)) = (read.first(), read.last()) else { return Ok(vec![]) };
    let mut rooms: Vec<String> = Vec::new();
    for (room_id, ..) in read {
        let id = <&RoomId>::try_from(room_id.as_str())?;
        if !rooms.contains(room_id) && interests.in_room(id).await? {
            rooms.push((*room_id).clone());
        }
    }
    let mut conn = engine.storage.read().await?;
    let rows = receipts::between(&mut conn, &rooms, first.3 - 1, last.3).await?;
    drop(conn);
    let mut events: HashMap<(String, String), Value> = HashMap::new();
    for row in rows.into_iter().filter(|row| may_know(service, row)) {
        let mut receipt = json!({ "ts": row.ts });
        if !row.thread_id.is_empty() {
            receipt["thread_id"] = json!(row.thread_id);
        }
        let content = events.entry((row.room_id, row.thread_id)).or_insert_with(|| json!({}));
        content[&row.event_id][&row.receipt_type][&row.user_id] = receipt;
    }
    let event = |((room_id, _), content): ((String, String), Value)| json!({ "type": "m.receipt", "room_id": room_id, "content": content });
    Ok(events.into_iter().map(event).collect())
}

/// Private receipts only the application service of their user may know.
fn may_know(service: &ApplicationService, row: &ReceiptRow) -> bool {
    row.receipt_type == "m.read"
        || <&UserId>::try_from(&*row.user_id).is_ok_and(|user_id| service.has_user(user_id))
}

//! A room that the user is joined to, or was until they left it: what is new in it on a connection.

use std::collections::BTreeSet;

use ruma::{
    OwnedUserId,
    events::{StateEventType, room::member::MembershipState},
};
use starling_storage::{
    rooms::{RoomRow, partial},
    timeline,
    unread::Numbers,
};

use super::{
    Sliding,
    answer::{Hero, Inside, Room},
    connection::{RoomState, Sent},
    lists::{Candidate, Shown},
    state::{StateNews, Wanted},
};
use crate::{
    Internal,
    reading::{filter::EventFilter, reader::Reader, scan, show::Seen},
    rooms::visibility,
    state::EMPTY_ROOT,
    sync::streams::{summary, timeline::Stretch},
};

/// The types of events by which something was said in a room.
const PROPER: [&str; 9] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.beacon_info",
    "org.matrix.msc3672.beacon_info",
];

/// How many members are remembered as sent in one room.
const MOST_MEMBERS: usize = 100;

/// What is told of a room, and from where on.
pub(super) struct Told<'a> {
    pub(super) shown: &'a Shown,
    pub(super) room: &'a Candidate,
    /// What was sent of it; changed to what is.
    pub(super) state: RoomState,
    /// The position until which it was sent.
    pub(super) until: Option<i64>,
    /// The last position that is shown, and the state there.
    pub(super) end: (i64, i64),
}

/// What is new in a room; `None`: nothing. Notes what is sent.
pub(super) async fn tell(
    sliding: &mut Sliding<'_>,
    reader: &mut Reader,
    told: &mut Told<'_>,
    row: Option<&RoomRow>,
) -> Result<Option<Room>, Internal> {
    let config = &told.shown.config;
    let fresh = !was_joined(sliding, reader, told).await?;
    let (stretch, expanded) = timeline(sliding, reader, told, fresh).await?;
    let base = match fresh {
        true => EMPTY_ROOT,
        false => sliding.moment.roots.get(&told.room.row.room_id).copied().unwrap_or(EMPTY_ROOT),
    };
    let gap = stretch.limited && !expanded;
    if fresh || gap {
        told.state.members.clear();
    }
    let before = sliding.state.config(&told.state).cloned();
    let of_types = sliding.moment.of_types.get(&told.room.row.room_id);
    let wanted = Wanted {
        base,
        end: told.end.1,
        config,
        before: before.as_ref(),
        of_types: of_types.filter(|_| row.is_some()).map(Vec::as_slice),
        limited: gap || was_completed(sliding, told).await?,
        needed: needed(&stretch.events, &told.state.members),
    };
    let news = StateNews::read(reader, wanted).await?;
    note(sliding, told, &stretch, &news, fresh);
    let shown = stretch.events.iter().map(|seen| (seen.event.pdu.event_id.to_string(), seen.pos));
    sliding.timelines.insert(told.room.row.room_id.clone(), shown.collect());
    let mut inside = Inside { expanded_timeline: expanded, ..Inside::default() };
    let summary = summarise(sliding, reader, told, row, &news, (base, fresh), &mut inside).await?;
    let quiet = !fresh && !expanded && stretch.events.is_empty() && !stretch.limited;
    if quiet && news.is_empty() && !summary && !sliding.own_receipt_moved(&told.room.row.room_id) {
        return Ok(None);
    }
    show(sliding, reader, &stretch, &news, &mut inside).await?;
    let mut room = sliding.room(told.room, told.shown);
    room.initial = fresh;
    if row.is_some() {
        room.bump_stamp = bump_stamp(sliding, reader, told.end.0).await?;
    }
    room.inside = Some(inside);
    Ok(Some(room))
}

/// Whether the client has the room as one that the user is joined to.
async fn was_joined(
    sliding: &Sliding<'_>,
    reader: &Reader,
    told: &Told<'_>,
) -> Result<bool, Internal> {
    let (Some(until), row) = (told.until, &told.room.row) else { return Ok(false) };
    if row.pos <= until {
        return Ok(row.membership == "join");
    }
    let Some(root) = sliding.moment.roots.get(&row.room_id) else { return Ok(false) };
    let member = reader.member(*root, &reader.user_id).await?;
    let membership = visibility::membership_of(member.as_ref().map(|event| &*event.pdu));
    Ok(membership == MembershipState::Join)
}

/// Whether all members of the room became known only after it was sent: whoever loads them lazily is not
/// sent all of them for that.
async fn was_completed(sliding: &Sliding<'_>, told: &Told<'_>) -> Result<bool, Internal> {
    let Some(until) = told.until else { return Ok(false) };
    let mut conn = sliding.engine.storage.read().await?;
    let room_id = &told.room.row.room_id;
    Ok(partial::completed_after(&mut conn, room_id, until).await?.is_some())
}

/// The newest events: those since the room was sent, or as many as are wanted when that are more than
/// the client has.
async fn timeline(
    sliding: &Sliding<'_>,
    reader: &mut Reader,
    told: &Told<'_>,
    fresh: bool,
) -> Result<(Stretch, bool), Internal> {
    let (limit, end) = (told.shown.config.timeline_limit, told.end.0);
    let filter = EventFilter::default();
    let wanted = scan::Wanted { filter: &filter, ignored: &sliding.moment.ignored, limit };
    let expands = !fresh && limit > told.state.timeline;
    let after = told.until.filter(|_| !fresh && !expands).unwrap_or(i64::MIN);
    let stretch = Stretch::find(reader, wanted, (after, end)).await?;
    let until = told.until.unwrap_or(i64::MIN);
    let expanded = expands && stretch.events.first().is_some_and(|first| first.pos <= until);
    Ok((stretch, expanded))
}

/// Who is needed to show the events, and was not sent.
fn needed(events: &[Seen], sent: &[String]) -> BTreeSet<OwnedUserId> {
    let mut users = BTreeSet::new();
    for pdu in events.iter().map(|seen| &seen.event.pdu) {
        users.insert(pdu.sender.clone());
        if pdu.kind.to_string() == "m.room.member" {
            let target = pdu.state_key.as_deref().and_then(|target| target.try_into().ok());
            users.extend(target);
        }
    }
    users.retain(|user_id: &OwnedUserId| !sent.iter().any(|sent| user_id == sent.as_str()));
    users
}

/// Notes what is sent.
fn note(
    sliding: &mut Sliding<'_>,
    told: &mut Told<'_>,
    stretch: &Stretch,
    news: &StateNews,
    fresh: bool,
) {
    let config = &told.shown.config;
    let state = &mut told.state;
    // What is all there is, is also more than can be wanted.
    let has = match (stretch.limited, fresh) {
        (false, true) => usize::MAX,
        (true, _) => config.timeline_limit,
        (false, false) => state.timeline.max(config.timeline_limit),
    };
    state.timeline = has;
    if config.is_lazy() {
        let new: Vec<String> =
            news.members().filter(|user_id| !state.members.contains(user_id)).cloned().collect();
        state.members.extend(new);
        let surplus = state.members.len().saturating_sub(MOST_MEMBERS);
        state.members.drain(..surplus);
    }
    state.config = Some(sliding.state.place_of(config));
    state.events = Sent::ALL;
}

/// Name, avatar, members and the like, where they changed. Whether any of it did.
async fn summarise(
    sliding: &Sliding<'_>,
    reader: &Reader,
    told: &mut Told<'_>,
    row: Option<&RoomRow>,
    news: &StateNews,
    (base, fresh): (i64, bool),
    inside: &mut Inside,
) -> Result<bool, Internal> {
    let is_whole = base == EMPTY_ROOT;
    let touches = |kind: StateEventType| is_whole || news.touches(&kind);
    let named = touches(StateEventType::RoomName);
    let members = touches(StateEventType::RoomMember);
    let mut changed = named || members;
    let name = content_of(reader, told.end.1, StateEventType::RoomName, "name").await?;
    if named {
        inside.name = Some(name.clone());
    }
    if touches(StateEventType::RoomAvatar) {
        changed = true;
        let avatar = content_of(reader, told.end.1, StateEventType::RoomAvatar, "url").await?;
        inside.avatar = Some(avatar);
    }
    if (named || members) && name.is_none() {
        inside.heroes = Some(heroes(reader).await?);
    }
    if let Some(row) = row.filter(|_| members) {
        (inside.joined_count, inside.invited_count) =
            (Some(row.joined_members), Some(row.invited_members));
    }
    let is_dm = sliding.moment.direct.contains(&told.room.row.room_id);
    if fresh || is_dm != told.state.is_dm {
        changed |= is_dm != told.state.is_dm;
        (inside.is_dm, told.state.is_dm) = (Some(is_dm), is_dm);
    }
    let unread = sliding.moment.unread.get(&told.room.row.room_id);
    let unread: Numbers = unread.map(|unread| unread.total()).unwrap_or_default();
    inside.notification_count = unread.notify.max(0);
    inside.highlight_count = unread.highlight.max(0);
    Ok(changed)
}

async fn content_of(
    reader: &Reader,
    root: i64,
    kind: StateEventType,
    field: &str,
) -> Result<Option<String>, Internal> {
    let event = reader.state_event(root, kind, "").await?;
    let value = event.and_then(|event| event.pdu.content_str(field));
    Ok(value.filter(|value| !value.is_empty()))
}

async fn heroes(reader: &Reader) -> Result<Vec<Hero>, Internal> {
    let rows = summary::first_members(reader).await?.into_iter();
    let hero = rows.map(|row| Hero {
        user_id: row.user_id,
        display_name: row.display_name,
        avatar_url: row.avatar_url,
    });
    Ok(hero.collect())
}

async fn show(
    sliding: &Sliding<'_>,
    reader: &mut Reader,
    stretch: &Stretch,
    news: &StateNews,
    inside: &mut Inside,
) -> Result<(), Internal> {
    let (form, ignored) = (&sliding.form, &sliding.moment.ignored);
    inside.required_state = news.show(reader, form).await?;
    inside.timeline = reader.show_bundled(&stretch.events, form, ignored).await?;
    inside.limited = stretch.limited;
    inside.prev_batch = stretch.prev.map(|token| token.to_string());
    if let Some(since) = sliding.moment.since {
        let live = stretch.events.iter().filter(|seen| seen.pos > since).count();
        inside.num_live = u64::try_from(live).unwrap_or(u64::MAX);
    }
    Ok(())
}

async fn bump_stamp(sliding: &Sliding<'_>, reader: &Reader, until: i64) -> Result<i64, Internal> {
    let kinds = PROPER.map(ToOwned::to_owned);
    let mut conn = sliding.engine.storage.read().await?;
    let room_id = reader.room_id.as_str();
    let pos = timeline::newest_of_types(&mut conn, room_id, &kinds, until).await?;
    // Positions of history are negative, and a stamp is not.
    Ok(pos.unwrap_or_default().max(0))
}

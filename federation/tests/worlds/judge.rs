//! What must hold when a world has healed. Each server for itself: its tables say what its state says, no
//! event stands twice in a timeline. Each two servers that take each other to be in a room: the same state,
//! the same events since both are there, each with the same fate and the same state before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use ruma::{OwnedEventId, OwnedRoomId, UserId};
use starling_engine::{
    events::{StoredEvent, store},
    rooms::room,
    state::Snapshots,
};
use starling_storage::{events::flags, rooms as room_rows, state as state_rows, timeline};

use crate::{
    server::Server,
    world::{Room, World},
};

type State = BTreeMap<(String, String), OwnedEventId>;

/// A room as a server has it.
struct View {
    server: String,
    partial: bool,
    state: State,
    ends: BTreeSet<OwnedEventId>,
    /// The events that have their place, as far as they are known to the world or lead to the ends.
    events: BTreeMap<OwnedEventId, Seen>,
    /// Those that lead to the ends.
    behind: BTreeSet<OwnedEventId>,
    /// The servers of its joined members, without those to which it is closed.
    servers: BTreeSet<String>,
    shown: BTreeSet<OwnedEventId>,
}

impl View {
    fn rejected(&self, id: &OwnedEventId) -> bool {
        self.events.get(id).is_some_and(|seen| seen.event.has(flags::REJECTED))
    }
}

struct Seen {
    event: std::sync::Arc<StoredEvent>,
    before: State,
}

/// How much was compared, for the result.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Compared {
    pub(crate) pairs: usize,
    pub(crate) events: usize,
    /// Pairs of servers of which only one takes the other to be in the room.
    pub(crate) estranged: usize,
}

/// What is wrong.
pub(crate) async fn complaints(world: &World) -> (Vec<String>, Compared) {
    let (mut complaints, mut compared) = (world.faults.clone(), Compared::default());
    for (number, known) in world.rooms.iter().enumerate() {
        let said = world.said.iter().filter(|(of, _)| *of == number).map(|(_, id)| id.clone());
        let said: BTreeSet<OwnedEventId> = said.collect();
        let mut views = Vec::new();
        for server in &world.servers {
            if !server.joined(&known.id).await.is_empty() {
                views.push(view(server, known, &said, &mut complaints).await);
            }
        }
        if world.aloud {
            show(&views);
        }
        for (at, one) in views.iter().enumerate() {
            for other in &views[at + 1..] {
                let mutual =
                    [(one, other), (other, one)].map(|(a, b)| a.servers.contains(&b.server));
                match mutual {
                    [true, true] => {
                        compared.pairs += 1;
                        compared.events += one.events.len();
                        let wrong = differences(one, other);
                        complaints
                            .extend(wrong.into_iter().map(|it| format!("{}: {it}", known.id)));
                    }
                    [false, false] => {}
                    _ => compared.estranged += 1,
                }
            }
        }
    }
    (complaints, compared)
}

async fn view(
    server: &Server,
    known: &Room,
    said: &BTreeSet<OwnedEventId>,
    complaints: &mut Vec<String>,
) -> View {
    let engine = server.engine();
    let room = room::load(engine, &known.id).await.unwrap().unwrap();
    let snapshots = Snapshots::of(engine, &known.id);
    let state = state_of(&snapshots, room.row.current_state).await;
    let mut wrong =
        |what: String| complaints.push(format!("{} {}: {what}", known.id, server.name()));
    let mut conn = engine.storage.read().await.unwrap();
    let table = state_rows::all_current(&mut conn, known.id.as_str()).await.unwrap();
    let table: State =
        table.into_iter().map(|(kind, key, id)| ((kind, key), id.try_into().unwrap())).collect();
    if table != state {
        wrong(format!("the table of the state differs:{}", difference(&table, &state)));
    }
    let counted = room_rows::servers_in(&mut conn, known.id.as_str()).await.unwrap();
    let rows =
        timeline::newest(&mut conn, known.id.as_str(), i64::MIN, i64::MAX, 100_000).await.unwrap();
    drop(conn);
    let mut shown = BTreeSet::new();
    for entry in rows {
        if !shown.insert(OwnedEventId::try_from(entry.event_id.clone()).unwrap()) {
            wrong(format!("{} is shown twice", entry.event_id));
        }
    }
    let memberships = memberships(server, &known.id, &state).await;
    // Whose event is no longer in the state has left.
    let here = |all: &BTreeMap<String, String>| {
        let mut here = all.clone();
        here.retain(|_, it| it != "leave");
        here
    };
    let members = server.members(&known.id).await;
    if here(&members) != here(&memberships) {
        wrong(format!("the members are {members:?}, by the state {memberships:?}"));
    }
    let joined = memberships.iter().filter(|(_, it)| *it == "join");
    let servers: BTreeSet<String> = joined
        .filter_map(|(user, _)| {
            Some(<&UserId>::try_from(user.as_str()).ok()?.server_name().to_string())
        })
        .collect();
    if !room.is_partial() && counted.iter().cloned().collect::<BTreeSet<_>>() != servers {
        wrong(format!("the servers are {counted:?}, by the state {servers:?}"));
    }
    let all = memberships.values().filter(|it| *it == "join").count();
    if usize::try_from(room.row.joined_members) != Ok(all) {
        wrong(format!("{} members are counted, {all} are joined", room.row.joined_members));
    }
    let ends = room.extremities.clone();
    let events = graph(server, &known.id, &snapshots, ends.iter().chain(said).cloned()).await;
    let behind = behind(&events, &ends);
    let servers = without_denied(server, &known.id, &state, servers).await;
    let (server, partial) = (server.name().to_string(), room.is_partial());
    View { server, partial, state, ends, events, behind, servers, shown }
}

async fn state_of(snapshots: &Snapshots, root: i64) -> State {
    let entries = snapshots.entries(root).await.unwrap();
    entries.into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect()
}

async fn memberships(
    server: &Server,
    room_id: &OwnedRoomId,
    state: &State,
) -> BTreeMap<String, String> {
    let members = state.iter().filter(|((kind, _), _)| kind == "m.room.member");
    let mut found = BTreeMap::new();
    for ((_, user), id) in members {
        let event = store::get(server.engine(), room_id, id).await.unwrap().unwrap();
        found.insert(user.clone(), event.pdu.content_str("membership").unwrap());
    }
    found
}

/// Without the servers that the room's server ACL denies: nobody takes their events.
async fn without_denied(
    server: &Server,
    room_id: &OwnedRoomId,
    state: &State,
    mut servers: BTreeSet<String>,
) -> BTreeSet<String> {
    let acl = state.get(&("m.room.server_acl".to_owned(), String::new()));
    if let Some(acl) = acl {
        let acl = store::get(server.engine(), room_id, acl).await.unwrap().unwrap();
        let content = acl.pdu.content.get();
        // One that was redacted lets nobody in.
        servers.retain(|name| content.contains("allow") && !content.contains(name.as_str()));
    }
    servers
}

/// The events that lead to some, as far as the server has them in their place.
async fn graph(
    server: &Server,
    room_id: &OwnedRoomId,
    snapshots: &Snapshots,
    from: impl Iterator<Item = OwnedEventId>,
) -> BTreeMap<OwnedEventId, Seen> {
    let (mut found, mut open) = (BTreeMap::new(), from.collect::<Vec<_>>());
    let mut states: HashMap<i64, State> = HashMap::new();
    while let Some(id) = open.pop() {
        if found.contains_key(&id) {
            continue;
        }
        let Some(event) = store::get(server.engine(), room_id, &id).await.unwrap() else {
            continue;
        };
        let Some(root) = event.state_before else { continue };
        open.extend(event.pdu.prev_events.iter().cloned());
        if let Entry::Vacant(place) = states.entry(root) {
            place.insert(state_of(snapshots, root).await);
        }
        found.insert(id, Seen { event, before: states[&root].clone() });
    }
    found
}

fn differences(one: &View, other: &View) -> Vec<String> {
    let mut wrong = Vec::new();
    let names = format!("{} and {}", one.server, other.server);
    for view in [one, other].into_iter().filter(|view| view.partial) {
        wrong.push(format!("{} still does not know the whole state", view.server));
    }
    if one.state != other.state {
        let difference = difference(&one.state, &other.state);
        wrong.push(format!("{names} differ about the state:{difference}"));
    }
    if one.ends != other.ends {
        wrong.push(format!("{names} have other ends: {:?} and {:?}", one.ends, other.ends));
    }
    for (having, lacking) in [(one, other), (other, one)] {
        let past = past(having, &lacking.server);
        for id in having.behind.iter().filter(|id| !past.contains(*id)) {
            if !lacking.events.contains_key(id) {
                let seen = &having.events[id];
                let event = &seen.event.pdu;
                let what =
                    format!("{} of {} (flags {})", event.kind, event.sender, seen.event.flags);
                wrong.push(format!(
                    "{} has {id}, {what}, and {} has not",
                    having.server, lacking.server
                ));
            }
        }
    }
    for (id, seen) in &one.events {
        // Of an event without its place nobody can tell whether the state before it allows it, and what it
        // authorises is judged by that.
        let judges = &seen.event.pdu.auth_events;
        let is_judged = judges.iter().all(|id| {
            [one, other].map(|view| view.rejected(id)).windows(2).all(|pair| pair[0] == pair[1])
        });
        if let Some(theirs) = other.events.get(id).filter(|_| is_judged) {
            wrong
                .extend(compare(seen, theirs).map(|it| format!("{names} differ about {id}: {it}")));
            let visible = seen.event.is_visible() && theirs.event.is_visible();
            let redaction = seen.event.pdu.kind.to_string() == "m.room.redaction";
            let past =
                past(one, &other.server).contains(id) || past(other, &one.server).contains(id);
            if visible && !redaction && !past && one.shown.contains(id) != other.shown.contains(id)
            {
                wrong.push(format!("only one of {names} shows {id}"));
            }
        }
    }
    wrong
}

fn compare(one: &Seen, other: &Seen) -> Option<String> {
    let (ours, theirs) = (&one.event, &other.event);
    // Who left a room before its whole state came does not know what it does not know.
    if ours.has(flags::ABANDONED) || theirs.has(flags::ABANDONED) {
        return None;
    }
    if ours.has(flags::REJECTED) != theirs.has(flags::REJECTED) {
        return Some(format!("is it rejected? {} {}", ours.flags, theirs.flags));
    }
    if one.before != other.before {
        return Some(format!("the state before it:{}", difference(&one.before, &other.before)));
    }
    None
}

/// The events before the joins of a server's users, which it need not have.
fn past(view: &View, server: &str) -> BTreeSet<OwnedEventId> {
    let is_join = |seen: &&Seen| {
        let pdu = &seen.event.pdu;
        pdu.kind.to_string() == "m.room.member"
            && pdu.sender.server_name() == server
            && pdu.content_str("membership").as_deref() == Some("join")
    };
    let joins = view.events.values().filter(is_join);
    behind(&view.events, joins.flat_map(|seen| &seen.event.pdu.prev_events))
}

/// Some events, and those that lead to them.
fn behind<'a>(
    events: &BTreeMap<OwnedEventId, Seen>,
    from: impl IntoIterator<Item = &'a OwnedEventId>,
) -> BTreeSet<OwnedEventId> {
    let mut open: Vec<OwnedEventId> = from.into_iter().cloned().collect();
    let mut behind = BTreeSet::new();
    while let Some(id) = open.pop() {
        if let Some(seen) = events.get(&id)
            && behind.insert(id)
        {
            open.extend(seen.event.pdu.prev_events.iter().cloned());
        }
    }
    behind
}

/// The graph as each server has it, for who looks for the cause of a failure.
fn show(views: &[View]) {
    let all: BTreeMap<_, _> = views.iter().flat_map(|view| &view.events).collect();
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(id, seen)| (seen.event.pdu.depth, (*id).clone()));
    for (id, seen) in all {
        let pdu = &seen.event.pdu;
        let after: Vec<_> = pdu.prev_events.iter().map(short).collect();
        let auth: Vec<_> = pdu.auth_events.iter().map(short).collect();
        let key = pdu.state_key.as_deref().unwrap_or("-");
        let what = format!("{} {} {key} {}", pdu.kind, pdu.sender, pdu.content.get());
        println!("{} {:3} {what:.160} after {after:?} by {auth:?}", short(id), pdu.depth);
        for view in views {
            let Some(Seen { event, before }) = view.events.get(id) else { continue };
            let sum = before
                .values()
                .flat_map(|id| id.as_bytes())
                .fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
            let end = if view.ends.contains(id) { "end" } else { "" };
            println!("        {}: flags {} state {sum:08x} {end}", view.server, event.flags);
        }
    }
}

fn short(id: &OwnedEventId) -> String {
    id.as_str().chars().take(6).collect()
}

fn difference(one: &State, other: &State) -> String {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differing = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    differing.map(|key| format!(" {key:?} {:?} {:?};", one.get(key), other.get(key))).collect()
}

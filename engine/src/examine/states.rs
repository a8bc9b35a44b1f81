//! The states of rooms: every node is what its name says, and the tables of the current state agree with it.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use ruma::RoomId;
use starling_storage::examine as rows;

use super::{Examined, Found, PAGE, contradictions, members};
use crate::{
    internal::Internal,
    state::{EMPTY_ROOT, Node, Trie, store::Secret},
};

/// Type and state key, and the event there.
type State = HashMap<(String, String), String>;

/// Looks at the states of all rooms.
pub(super) async fn look(examined: &Examined<'_>, found: &mut Found) -> Result<(), Internal> {
    let mut conn = examined.db.read().await?;
    let secret = Secret::of(&mut conn).await?;
    let rooms = rows::rooms(&mut conn).await?;
    drop(conn);
    for room in rooms {
        let Ok(room_id) = <&RoomId>::try_from(room.room_id.as_str()) else {
            found.wrong(format!("{:?} is no room", room.room_id));
            continue;
        };
        let looked = look_at_room(examined, &secret.trie(room_id), room_id, found).await;
        found.read(&format!("the state of {room_id}"), looked);
    }
    contradictions(examined, &rows::OF_STATES, found).await;
    Ok(())
}

/// All at one moment: the server may be running.
async fn look_at_room(
    examined: &Examined<'_>,
    trie: &Trie,
    room_id: &RoomId,
    found: &mut Found,
) -> Result<(), Internal> {
    let mut conn = examined.db.snapshot().await?;
    let Some(room) = rows::room(&mut conn, room_id.as_str()).await? else { return Ok(()) };
    let (mut there, mut wanted, mut after) = (HashSet::new(), HashSet::new(), None);
    loop {
        let nodes = rows::nodes(&mut conn, &room.room_id, after, PAGE).await?;
        let Some((last, _)) = nodes.last() else { break };
        after = Some(*last);
        let mut events = BTreeSet::new();
        for (id, data) in nodes {
            found.looked_at += 1;
            there.insert(id);
            match read(trie, id, data) {
                Some(Node::Leaf(entries)) => {
                    events.extend(entries.into_iter().map(|entry| entry.event_id.to_string()));
                }
                Some(Node::Inner { children, .. }) => {
                    wanted.extend(children.into_iter().map(|(_, id)| id));
                }
                None => found.wrong(format!("node {id} of {room_id} is damaged")),
            }
        }
        let events: Vec<String> = events.into_iter().collect();
        let known = rows::known_events(&mut conn, &room.room_id, &events).await?;
        for id in events.iter().filter(|id| !known.contains(id)) {
            found.wrong(format!("a state of {room_id} has the unknown event {id}"));
        }
    }
    for id in wanted.difference(&there) {
        found.wrong(format!("node {id} of {room_id} is not there"));
    }
    compare(&mut conn, trie, &room, found).await?;
    members::look(examined, &mut conn, &room, found).await
}

fn read(trie: &Trie, id: i64, data: Vec<u8>) -> Option<Node> {
    let data = Bytes::from(data);
    trie.is_named(id, &data).then(|| Node::decode(&data).ok()).flatten()
}

/// Compares the current state as a table with that of the snapshot.
async fn compare(
    conn: &mut starling_storage::Conn,
    trie: &Trie,
    room: &rows::Room,
    found: &mut Found,
) -> Result<(), Internal> {
    let table = rows::current_state(conn, &room.room_id).await?;
    let mut table: State = table.into_iter().map(|(kind, key, id)| ((kind, key), id)).collect();
    for (key, event_id) in snapshot(conn, trie, room).await? {
        if table.remove(&key).as_ref() != Some(&event_id) {
            found.wrong(format!("{key:?} in {} is not noted to be {event_id}", room.room_id));
        }
    }
    for (key, event_id) in table {
        found.wrong(format!("{key:?} in {} is noted to be {event_id}", room.room_id));
    }
    Ok(())
}

/// The whole current state. A node that is missing or damaged was told of; what is below it is left out.
async fn snapshot(
    conn: &mut starling_storage::Conn,
    trie: &Trie,
    room: &rows::Room,
) -> Result<State, Internal> {
    let mut state = State::new();
    let mut ids = vec![room.current_state];
    ids.retain(|id| *id != EMPTY_ROOT);
    while !ids.is_empty() {
        let nodes = starling_storage::state::nodes(conn, &room.room_id, &ids).await?;
        ids.clear();
        for (id, data) in nodes {
            match read(trie, id, data) {
                Some(Node::Leaf(entries)) => state.extend(entries.into_iter().map(|entry| {
                    ((entry.key.0.to_string(), entry.key.1), entry.event_id.to_string())
                })),
                Some(Node::Inner { children, .. }) => {
                    ids.extend(children.into_iter().map(|(_, id)| id));
                }
                None => {}
            }
        }
    }
    Ok(state)
}

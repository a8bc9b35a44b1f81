//! What a client has been sent on a connection, so that it is sent only what is new.
//!
//! A state never changes. An answer that changes what was sent makes a successor, and its `pos` names
//! that; the state before stays until the client shows by its next request that it has the answer. So
//! a request may be repeated. States are in the database and survive a restart.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicI64, Ordering},
};

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use starling_storage::{
    Change,
    sliding::{self as rows, ConnectionRow, StateRow, Write},
};

use super::{SlidingError, required::RoomConfig};
use crate::{
    Engine, Internal,
    encryption::news::Supply,
    reading::{access::Asking, pos::Pos, token::SyncToken},
    rng,
};

/// How many connections a device has at most; the one used last is never forgotten.
pub(super) const MOST_CONNECTIONS: i64 = 20;

/// How many bytes a state has beside its rooms at most. One that grows beyond begins anew.
const LARGEST_STATE: usize = 256 * 1024;

/// How often it is noted that a connection is used, in milliseconds.
const NOTE_USED_MS: i64 = 60 * 60 * 1_000;

/// Stands for: as far as the client's `pos`.
const LIVE: i64 = i64::MAX;

/// Up to where something was sent on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Sent(Option<i64>);

impl Sent {
    /// Everything up to the client's `pos`.
    pub(super) const ALL: Self = Self(Some(LIVE));

    /// The position after which it is news; `None`: all of it.
    pub(super) fn until(self, since: Option<i64>) -> Option<i64> {
        Some(self.0?.min(since?))
    }

    /// Whether everything up to the client's `pos` was sent.
    pub(super) fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether anything was sent.
    pub(super) fn is_any(self) -> bool {
        self.0.is_some()
    }

    /// What is sent after an answer: all, if the answer `told` it. If not, and something `happened`,
    /// what was sent before.
    pub(super) fn after(self, since: Option<i64>, told: bool, happened: bool) -> Self {
        match (told, happened) {
            (true, _) => Self::ALL,
            (false, true) => Self(self.until(since)),
            (false, false) => self,
        }
    }
}

/// What was sent of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct RoomState {
    /// The room itself.
    #[serde(rename = "e")]
    pub(super) events: Sent,
    /// Its account data.
    #[serde(rename = "a", skip_serializing_if = "is_default")]
    pub(super) account_data: Sent,
    /// Its receipts.
    #[serde(rename = "r", skip_serializing_if = "is_default")]
    pub(super) receipts: Sent,
    /// What was wanted of it last: the place of its configuration in the state.
    #[serde(rename = "c", skip_serializing_if = "is_default")]
    pub(super) config: Option<usize>,
    /// How many of its newest events the client has at least.
    #[serde(rename = "t", skip_serializing_if = "is_default")]
    pub(super) timeline: usize,
    /// Whether it was called a direct chat.
    #[serde(rename = "d", skip_serializing_if = "is_default")]
    pub(super) is_dm: bool,
    /// Members that were sent because other events needed them.
    #[serde(rename = "m", skip_serializing_if = "Vec::is_empty")]
    pub(super) members: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What was sent beside rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Rest {
    account_data: Sent,
    one_time_keys: Option<BTreeMap<String, u64>>,
    fallback: Vec<String>,
    configs: Vec<RoomConfig>,
}

/// A state of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Global account data.
    pub(super) account_data: Sent,
    /// The keys that others can have; `None`: not yet.
    pub(super) supply: Option<Supply>,
    configs: Vec<RoomConfig>,
    rooms: HashMap<String, RoomState>,
    changed: BTreeMap<String, RoomState>,
}

impl State {
    /// What was sent of a room.
    pub(super) fn room(&self, room_id: &str) -> RoomState {
        let room = self.changed.get(room_id).or_else(|| self.rooms.get(room_id));
        room.cloned().unwrap_or_default()
    }

    /// The rooms of which something was sent.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&String, &RoomState)> {
        self.rooms.iter()
    }

    /// Notes what is sent of a room.
    pub(super) fn set_room(&mut self, room_id: &str, room: RoomState) {
        if self.room(room_id) != room {
            self.changed.insert(room_id.to_owned(), room);
        }
    }

    /// What was wanted of a room last.
    pub(super) fn config(&self, room: &RoomState) -> Option<&RoomConfig> {
        self.configs.get(room.config?)
    }

    /// The place of what is wanted of a room.
    pub(super) fn place_of(&mut self, config: &RoomConfig) -> usize {
        if let Some(index) = self.configs.iter().position(|known| known == config) {
            return index;
        }
        self.configs.push(config.clone());
        self.configs.len() - 1
    }

    fn rest(&self) -> Rest {
        let supply = self.supply.clone();
        Rest {
            account_data: self.account_data,
            fallback: supply.as_ref().map(|it| it.fallback.clone()).unwrap_or_default(),
            one_time_keys: supply.map(|it| it.one_time_keys),
            configs: self.configs.clone(),
        }
    }

    fn read(row: &StateRow) -> Result<Self, Internal> {
        let Rest { account_data, one_time_keys, fallback, configs } =
            serde_json::from_str(&row.state)?;
        let supply = one_time_keys.map(|one_time_keys| Supply { one_time_keys, fallback });
        let room =
            |(room_id, json): &(String, String)| Ok((room_id.clone(), serde_json::from_str(json)?));
        let rooms = row.rooms.iter().map(room).collect::<Result<_, Internal>>()?;
        Ok(Self { account_data, supply, configs, rooms, changed: BTreeMap::new() })
    }

    fn written(&self, serial: i64) -> Result<StateRow, Internal> {
        let room = |(room_id, room): (&String, &RoomState)| {
            Ok((room_id.clone(), serde_json::to_string(room)?))
        };
        let rooms = self.changed.iter().map(room).collect::<Result<_, Internal>>()?;
        Ok(StateRow { serial, state: serde_json::to_string(&self.rest())?, rooms })
    }
}

/// What this process remembers of sliding sync.
#[derive(Debug)]
pub struct Memory {
    /// The greatest number that was given to a state.
    serial: AtomicI64,
    /// Whether a membership, by its event, ended a join.
    pub(super) ended_joins: Cache<String, bool>,
}

/// How many memberships are remembered.
const REMEMBERED: u64 = 10_000;

impl Default for Memory {
    fn default() -> Self {
        Self { serial: AtomicI64::new(0), ended_joins: Cache::new(REMEMBERED) }
    }
}

impl Memory {
    /// A number greater than another, and than those that were given before.
    fn next_serial(&self, after: i64) -> i64 {
        self.serial.fetch_max(after, Ordering::SeqCst);
        self.serial.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A connection as a request finds it.
#[derive(Debug)]
pub(super) struct Connection {
    row: ConnectionRow,
    /// The number of the state that the client has, and the greatest there is; `None`: it begins.
    serial: Option<(i64, i64)>,
    before: Rest,
    /// What was sent before the request.
    pub(super) state: State,
}

impl Connection {
    /// The connection of a request.
    pub(super) async fn load(
        engine: &Engine,
        asking: Asking<'_>,
        conn_id: &str,
        pos: Option<&Pos>,
    ) -> Result<Self, SlidingError> {
        let device_id = asking.device_id.map(ToString::to_string).unwrap_or_default();
        let (user_id, conn_id) = (asking.user_id.to_string(), conn_id.to_owned());
        let row = |connection: String| ConnectionRow { user_id, device_id, conn_id, connection };
        let Some(pos) = pos else {
            let (row, state) = (row(rng::token::<12>()), State::default());
            return Ok(Self { row, serial: None, before: Rest::default(), state });
        };
        let row = row(pos.connection.clone());
        let mut conn = engine.storage.snapshot().await.map_err(Internal::from)?;
        let stored = rows::get(&mut conn, &row, pos.serial).await.map_err(Internal::from)?;
        drop(conn);
        let stored = stored.ok_or(SlidingError::UnknownPos)?;
        if stored.state.state.len() > LARGEST_STATE {
            return Err(SlidingError::UnknownPos);
        }
        let now = engine.clock.now_ms();
        if now - stored.used_ts > NOTE_USED_MS {
            let mut change = Change::new();
            change.write(Write::Used { connection: row.connection.clone(), ts: now });
            engine.storage.commit(change).await.map_err(Internal::from)?;
        }
        let state = State::read(&stored.state)?;
        let serial = Some((pos.serial, stored.newest));
        Ok(Self { row, serial, before: state.rest(), state })
    }

    /// Stores what was sent, if that is another than before, and tells where the client continues.
    pub(super) async fn save(
        &self,
        engine: &Engine,
        state: &State,
        seen: SyncToken,
    ) -> Result<Pos, Internal> {
        let connection = self.row.connection.clone();
        let is_same = state.changed.is_empty() && state.rest() == self.before;
        if let Some((serial, _)) = self.serial.filter(|_| is_same) {
            return Ok(Pos { connection, serial, seen });
        }
        let serial = engine.sliding.next_serial(self.serial.map_or(0, |(_, newest)| newest));
        let (state, ts) = (state.written(serial)?, engine.clock.now_ms());
        let mut change = Change::new();
        change.write(match self.serial {
            None => Write::Open { row: self.row.clone(), state, ts, most: MOST_CONNECTIONS },
            Some((from, _)) => Write::Advance { connection: connection.clone(), from, state, ts },
        });
        engine.storage.commit(change).await?;
        Ok(Pos { connection, serial, seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_news_later() {
        let until = |sent: Sent| sent.until(Some(10));
        assert_eq!(until(Sent::default()), None);
        assert_eq!(until(Sent::ALL), Some(10));
        let missed = Sent::ALL.after(Some(10), false, true);
        assert_eq!((until(missed), missed.until(Some(20))), (Some(10), Some(10)));
        assert_eq!(Sent::ALL.after(Some(10), false, false), Sent::ALL);
        assert_eq!(missed.after(Some(20), false, true), missed);
        assert_eq!(missed.after(Some(20), true, true), Sent::ALL);
        assert_eq!(Sent::default().after(None, false, true), Sent::default());
        assert!(missed.is_any() && !missed.is_all() && !Sent::default().is_any());
    }

    #[test]
    fn a_state_is_read_back() {
        let mut state = State::default();
        let config = RoomConfig { timeline_limit: 3, ..RoomConfig::default() };
        let place = state.place_of(&config);
        assert_eq!(state.place_of(&config), place);
        let room = RoomState {
            events: Sent::ALL,
            receipts: Sent(Some(4)),
            config: Some(place),
            timeline: 3,
            members: vec!["@a:x".to_owned()],
            ..RoomState::default()
        };
        state.set_room("!r:x", room.clone());
        state.supply = Some(Supply { fallback: vec!["a".to_owned()], ..Supply::default() });
        let again = State::read(&state.written(1).unwrap()).unwrap();
        assert_eq!(again.room("!r:x"), room);
        assert_eq!(again.config(&room), Some(&config));
        assert_eq!((again.rest(), again.changed.len()), (state.rest(), 0));
        assert_eq!(again.room("!s:x"), RoomState::default());
    }

    #[test]
    fn numbers_only_grow() {
        let memory = Memory::default();
        let numbers = [0, 0, 10, 3].map(|after| memory.next_serial(after));
        assert_eq!(numbers, [1, 2, 11, 12]);
    }
}

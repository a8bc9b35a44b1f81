//! What is answered, whichever form of the answer the client uses.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{
    encryption::news::{DeviceLists, Supply},
    reading::subscriptions::Changes,
};

/// An answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// Where the connection continues.
    pub pos: String,
    /// How many rooms each list has.
    pub lists: BTreeMap<String, u64>,
    /// The rooms that are new, or of which something is.
    pub rooms: BTreeMap<String, Room>,
    /// What there is beside rooms.
    pub extensions: Extensions,
}

/// A room. What is not set did not change; in one that is `initial` it is not there.
#[derive(Debug, Default)]
pub struct Room {
    /// What the user is in it.
    pub membership: String,
    /// The lists that show it.
    pub lists: Vec<String>,
    /// Whether this is all there is to show of it, not what is new.
    pub initial: bool,
    /// Greater where something was said later.
    pub bump_stamp: i64,
    /// Whether it is called a direct chat; set of an invite or a knock.
    pub is_dm: Option<bool>,
    /// What is shown to those who are or were in it.
    pub inside: Option<Inside>,
    /// What is shown of it to those who never were.
    pub stripped_state: Option<Vec<Box<RawValue>>>,
}

/// What is shown of a room to those who are or were in it.
#[derive(Debug, Default)]
pub struct Inside {
    /// Its name; `Some(None)`: it has none.
    pub name: Option<Option<String>>,
    /// Its avatar; `Some(None)`: it has none.
    pub avatar: Option<Option<String>>,
    /// Members by whom to name it.
    pub heroes: Option<Vec<Hero>>,
    /// Whether it is called a direct chat.
    pub is_dm: Option<bool>,
    /// Whether the timeline reaches back to what was sent before, as more of it is wanted now.
    pub expanded_timeline: bool,
    /// State that changed.
    pub required_state: Vec<StateItem>,
    /// The newest events, the oldest of them first.
    pub timeline: Vec<Box<RawValue>>,
    /// Where paging back continues.
    pub prev_batch: Option<String>,
    /// Whether there are events before these that the client does not have.
    pub limited: bool,
    /// How many of the events happened since the client's `pos`.
    pub num_live: u64,
    /// How many members are joined.
    pub joined_count: Option<i64>,
    /// How many are invited.
    pub invited_count: Option<i64>,
    /// Events that notify and are not read.
    pub notification_count: i64,
    /// Those of them that are of special interest.
    pub highlight_count: i64,
}

/// A place in a room's state that changed.
#[derive(Debug)]
pub enum StateItem {
    /// What stands there now.
    Event(Box<RawValue>),
    /// Nothing stands there any more.
    Gone {
        /// The type.
        kind: String,
        /// The state key.
        state_key: String,
    },
}

/// A member by whom a room is named.
#[derive(Debug)]
pub struct Hero {
    /// Who.
    pub user_id: String,
    /// Their name in the room.
    pub display_name: Option<String>,
    /// Their avatar in the room.
    pub avatar_url: Option<String>,
}

/// What there is beside rooms: `Some` for what the client asked for.
#[derive(Debug, Default)]
pub struct Extensions {
    /// Messages to the device.
    pub to_device: Option<ToDevice>,
    /// News of keys.
    pub e2ee: Option<Keys>,
    /// Account data.
    pub account_data: Option<AccountData>,
    /// Receipts, one event for each room.
    pub receipts: Option<BTreeMap<String, Box<RawValue>>>,
    /// Who types, one event for each room.
    pub typing: Option<BTreeMap<String, Box<RawValue>>>,
    /// Changes of followed threads.
    pub thread_subscriptions: Option<Changes>,
}

/// Messages to the device.
#[derive(Debug, Default)]
pub struct ToDevice {
    /// What tells that the device has them.
    pub next_batch: String,
    /// The messages.
    pub events: Vec<Box<RawValue>>,
}

/// News of keys.
#[derive(Debug, Default)]
pub struct Keys {
    /// Users whose devices changed; `None` when the connection begins.
    pub device_lists: Option<DeviceLists>,
    /// The device's own keys that others can have.
    pub supply: Supply,
    /// Whether that is news.
    pub supply_changed: bool,
}

/// Account data.
#[derive(Debug, Default)]
pub struct AccountData {
    /// Not about a room.
    pub global: Vec<Box<RawValue>>,
    /// By room.
    pub rooms: BTreeMap<String, Vec<Box<RawValue>>>,
}

impl Answer {
    /// Whether there is nothing in it for which a client would not wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.extensions.is_empty()
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        let Self { to_device, e2ee, account_data, receipts, typing, thread_subscriptions } = self;
        let has_keys = |keys: &Keys| {
            let lists = keys.device_lists.as_ref();
            keys.supply_changed || lists.is_some_and(|lists| *lists != DeviceLists::default())
        };
        to_device.as_ref().is_none_or(|it| it.events.is_empty())
            && !e2ee.as_ref().is_some_and(has_keys)
            && account_data.as_ref().is_none_or(|it| it.global.is_empty() && it.rooms.is_empty())
            && receipts.as_ref().is_none_or(BTreeMap::is_empty)
            && typing.as_ref().is_none_or(BTreeMap::is_empty)
            && thread_subscriptions
                .as_ref()
                .is_none_or(|it| it.subscribed.is_empty() && it.unsubscribed.is_empty())
    }
}

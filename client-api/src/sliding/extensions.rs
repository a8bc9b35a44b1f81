//! What clients ask of sliding sync beside rooms, and what they are answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_engine::{
    encryption::news::DeviceLists,
    reading::subscriptions::{Changes, Subscribed, Unsubscribed},
    sync::sliding::{
        answer,
        request::{Extensions, Scope, ToDevice},
    },
};

use super::check_names;
use crate::error::Error;

/// How many changes of followed threads are sent when the client does not say.
const DEFAULT_THREADS: u64 = 100;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ExtensionsJson {
    to_device: Option<ToDeviceJson>,
    e2ee: Option<EnabledJson>,
    account_data: Option<ScopeJson>,
    receipts: Option<ScopeJson>,
    typing: Option<ScopeJson>,
    #[serde(rename = "io.element.msc4308.thread_subscriptions")]
    thread_subscriptions: Option<ThreadsJson>,
}

#[derive(Deserialize)]
struct EnabledJson {
    enabled: Option<bool>,
}

#[derive(Deserialize)]
struct ToDeviceJson {
    enabled: Option<bool>,
    since: Option<String>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
struct ScopeJson {
    enabled: Option<bool>,
    lists: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ThreadsJson {
    enabled: Option<bool>,
    limit: Option<u64>,
}

impl ExtensionsJson {
    pub(super) fn read(self) -> Result<Extensions, Error> {
        let is_on = |enabled: Option<bool>| enabled == Some(true);
        let to_device = self.to_device.filter(|it| is_on(it.enabled));
        let threads = self.thread_subscriptions.filter(|it| is_on(it.enabled));
        Ok(Extensions {
            to_device: to_device.map(ToDeviceJson::read).transpose()?,
            e2ee: self.e2ee.is_some_and(|it| is_on(it.enabled)),
            account_data: self.account_data.map(ScopeJson::read).transpose()?.flatten(),
            receipts: self.receipts.map(ScopeJson::read).transpose()?.flatten(),
            typing: self.typing.map(ScopeJson::read).transpose()?.flatten(),
            thread_subscriptions: threads.map(|it| it.limit.unwrap_or(DEFAULT_THREADS)),
        })
    }
}

impl ToDeviceJson {
    fn read(self) -> Result<ToDevice, Error> {
        let number = |text: String| text.parse().ok().filter(|pos: &i64| *pos >= 0);
        let bad = || Error::invalid_param("`since` is no token of messages to the device");
        let since = self.since.map(|text| number(text).ok_or_else(bad)).transpose()?;
        Ok(ToDevice { since, limit: self.limit })
    }
}

impl ScopeJson {
    fn read(self) -> Result<Option<Scope>, Error> {
        check_names(self.lists.iter().flatten())?;
        check_names(self.rooms.iter().flatten())?;
        let scope = Scope { lists: self.lists, rooms: self.rooms };
        Ok(Some(scope).filter(|_| self.enabled == Some(true)))
    }
}

/// What is answered. An extension that has nothing to say is left out, but for what clients take as a
/// sign of life.
#[derive(Serialize)]
pub(super) struct AnswerJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    to_device: Option<MessagesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e2ee: Option<KeysJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_data: Option<NotedJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<RoomsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typing: Option<RoomsJson>,
    #[serde(
        rename = "io.element.msc4308.thread_subscriptions",
        skip_serializing_if = "Option::is_none"
    )]
    thread_subscriptions: Option<ChangesJson>,
}

#[derive(Serialize)]
struct MessagesJson {
    next_batch: String,
    events: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct KeysJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_lists: Option<DeviceLists>,
    device_one_time_keys_count: BTreeMap<String, u64>,
    device_unused_fallback_key_types: Vec<String>,
}

#[derive(Serialize)]
struct NotedJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    global: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rooms: BTreeMap<String, Vec<Box<RawValue>>>,
}

#[derive(Serialize)]
struct RoomsJson {
    rooms: BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
struct ChangesJson {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    subscribed: BTreeMap<String, BTreeMap<String, Subscribed>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unsubscribed: BTreeMap<String, BTreeMap<String, Unsubscribed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
}

impl AnswerJson {
    pub(super) fn new(extensions: answer::Extensions) -> Self {
        let rooms = |rooms: Option<BTreeMap<String, Box<RawValue>>>| {
            rooms.filter(|rooms| !rooms.is_empty()).map(|rooms| RoomsJson { rooms })
        };
        let noted = extensions.account_data;
        let noted = noted.filter(|it| !it.global.is_empty() || !it.rooms.is_empty());
        Self {
            to_device: extensions
                .to_device
                .map(|it| MessagesJson { next_batch: it.next_batch, events: it.events }),
            e2ee: extensions.e2ee.map(|it| KeysJson {
                device_lists: it.device_lists,
                device_one_time_keys_count: it.supply.one_time_keys,
                device_unused_fallback_key_types: it.supply.fallback,
            }),
            account_data: noted.map(|it| NotedJson { global: it.global, rooms: it.rooms }),
            receipts: rooms(extensions.receipts),
            typing: rooms(extensions.typing),
            thread_subscriptions: extensions.thread_subscriptions.and_then(ChangesJson::new),
        }
    }
}

impl ChangesJson {
    fn new(changes: Changes) -> Option<Self> {
        let Changes { subscribed, unsubscribed, end } = changes;
        let any = !subscribed.is_empty() || !unsubscribed.is_empty();
        any.then_some(Self { subscribed, unsubscribed, prev_batch: end })
    }
}

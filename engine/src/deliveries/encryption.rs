//! What the encryption of an application service's users needs: messages to their devices, whose devices
//! changed, and how many keys they have left.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4203>
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3202>

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ruma::{RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use starling_storage::{
    Change, Conn,
    accounts::devices,
    encryption::lists,
    memberships,
    to_device::{self, Write},
};

use super::interest::Interests;
use crate::{
    Engine, Internal,
    appservices::ApplicationService,
    encryption::news::{self, DeviceLists, Supply},
};

/// In how many rooms of somebody it is looked for the application service's users.
const MOST_ROOMS: usize = 200;

/// Of how many of its users it is told in one transaction how many keys they have left.
const MOST_USERS: usize = 100;

/// A message to a device as it waits for it.
#[derive(Deserialize)]
struct Waiting<'a> {
    #[serde(rename = "type")]
    kind: String,
    sender: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// As it is told: with the device that it is for.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sender: &'a str,
    to_user_id: &'a str,
    to_device_id: &'a str,
    content: &'a RawValue,
}

/// The messages to devices of a user that came at a position, if they are for the application service.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn messages(
    engine: &Engine,
    service: &ApplicationService,
    user_id: &str,
    pos: i64,
) -> Result<Vec<Box<RawValue>>, Internal> {
    let is_its = <&UserId>::try_from(user_id).is_ok_and(|user_id| service.has_user(user_id));
    if !is_its || !(service.receive_ephemeral || service.encrypts) {
        return Ok(vec![]);
    }
    let mut conn = engine.storage.read().await?;
    let waiting = to_device::at(&mut conn, user_id, pos).await?;
    drop(conn);
    let told = |(device_id, json): (String, String)| {
        let Waiting { kind, sender, content } = serde_json::from_str(&json)?;
        let (to_user_id, to_device_id) = (user_id, device_id.as_str());
        to_raw_value(&Message { kind: &kind, sender: &sender, to_user_id, to_device_id, content })
    };
    Ok(waiting.into_iter().map(told).collect::<Result<_, _>>()?)
}

/// Adds to a change that the messages of a transaction that was taken, which told what happened after a
/// position and up to another, wait no longer. Who does not encrypt by what it is sent may fetch them by
/// /sync, too.
///
/// # Errors
///
/// None in practice: the transaction was made here.
pub(super) fn taken(
    change: &mut Change,
    service: &ApplicationService,
    body: &str,
    (after, until): (i64, i64),
) -> Result<(), Internal> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default, rename = "de.sorunome.msc2409.to_device")]
        to_device: Vec<Addressed>,
    }
    #[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Addressed {
        to_user_id: String,
        to_device_id: String,
    }
    if !service.encrypts {
        return Ok(());
    }
    let body: Body = serde_json::from_str(body)?;
    for Addressed { to_user_id, to_device_id } in BTreeSet::from_iter(body.to_device) {
        let (user_id, device_id) = (to_user_id, to_device_id);
        change.write(Write::Passed { user_id, device_id, after, until });
    }
    Ok(())
}

/// Notes that the devices of somebody changed, if that is of interest.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn changed(
    lists: &mut DeviceLists,
    interests: &mut Interests,
    user_id: &str,
) -> Result<(), Internal> {
    let Ok(id) = <&UserId>::try_from(user_id) else { return Ok(()) };
    if interests.in_user(id, MOST_ROOMS).await? {
        lists.left.remove(user_id);
        lists.changed.insert(user_id.to_owned());
    }
    Ok(())
}

/// Notes what it means for lists of devices that somebody became something in a room: who came is to be
/// looked at, as are all members if it is the first of the application service's users who came, and who
/// is in no room of interest any more is not.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn moved(
    engine: &Engine,
    lists: &mut DeviceLists,
    interests: &mut Interests,
    user_id: &str,
    room_id: &str,
) -> Result<(), Internal> {
    let (Ok(user), Ok(room)) = (<&UserId>::try_from(user_id), <&RoomId>::try_from(room_id)) else {
        return Ok(());
    };
    let mut conn = engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id, room_id).await?;
    drop(conn);
    if row.is_none_or(|row| row.membership != "join") {
        if !interests.in_user(user, MOST_ROOMS).await? {
            lists.changed.remove(user_id);
            lists.left.insert(user_id.to_owned());
        }
        return Ok(());
    }
    if !interests.in_room(room).await? {
        return Ok(());
    }
    let mut came = vec![user_id.to_owned()];
    if interests.is_only_one(user, room).await? {
        let mut conn = engine.storage.read().await?;
        came.extend(lists::members_of(&mut conn, &[room_id.to_owned()]).await?);
    }
    for user_id in came {
        lists.left.remove(&user_id);
        lists.changed.insert(user_id);
    }
    Ok(())
}

/// How many keys each device of some users has left, as an application service was told last.
#[derive(Debug, Default)]
pub(super) struct Supplies(HashMap<(String, String), Supply>);

/// By user and device.
type ByDevice<T> = BTreeMap<String, BTreeMap<String, T>>;

/// How many keys devices have left: what is another number than it was told.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// One-time keys by algorithm.
    pub(super) one_time_keys: ByDevice<BTreeMap<String, u64>>,
    /// The algorithms of which the fallback key was not used.
    pub(super) fallback: ByDevice<Vec<String>>,
}

impl Supplies {
    /// What is new of the application service's own user and of some others.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn news(
        &mut self,
        engine: &Engine,
        service: &ApplicationService,
        users: &BTreeSet<String>,
    ) -> Result<Left, Internal> {
        let mut left = Left::default();
        if !service.encrypts {
            return Ok(left);
        }
        let own = service.sender.as_str();
        let others = users.iter().map(String::as_str).filter(|user_id| *user_id != own);
        let mut conn = engine.storage.read().await?;
        for user_id in std::iter::once(own).chain(others).take(MOST_USERS) {
            for device in devices::of_user(&mut conn, user_id).await? {
                self.look(&mut conn, user_id, &device.device_id, &mut left).await?;
            }
        }
        Ok(left)
    }

    async fn look(
        &mut self,
        conn: &mut Conn,
        user_id: &str,
        device_id: &str,
        left: &mut Left,
    ) -> Result<(), Internal> {
        let supply = news::supply(conn, <&UserId>::try_from(user_id)?, device_id.into()).await?;
        let before = self.0.insert((user_id.to_owned(), device_id.to_owned()), supply.clone());
        let has_none = supply.fallback.is_empty() && supply.one_time_keys.values().all(|n| *n == 0);
        if before.as_ref() == Some(&supply) || before.is_none() && has_none {
            return Ok(());
        }
        let of_user = left.one_time_keys.entry(user_id.to_owned()).or_default();
        of_user.insert(device_id.to_owned(), supply.one_time_keys);
        let of_user = left.fallback.entry(user_id.to_owned()).or_default();
        of_user.insert(device_id.to_owned(), supply.fallback);
        Ok(())
    }
}

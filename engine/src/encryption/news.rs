//! What /sync tells of keys: whose devices changed, with whom one shares rooms no more, how many
//! one-time keys are left.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user>

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ruma::{DeviceId, UserId};
use serde::Serialize;
use starling_storage::{
    Conn,
    encryption::{cross_signing, lists, one_time_keys},
    epochs, facts,
    memberships::{self, MembershipRow},
};

use super::upload::counted;
use crate::{Engine, Internal, reading::token::SyncToken};

/// Users whose devices changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceLists {
    /// Whose devices changed, or who shares a room with the user only now.
    pub changed: BTreeSet<String>,
    /// Who shares no room with the user any more.
    pub left: BTreeSet<String>,
}

/// How many keys a device has for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// One-time keys that are left, by algorithm.
    pub one_time_keys: BTreeMap<String, u64>,
    /// Algorithms of which the fallback key was not used.
    pub fallback: Vec<String>,
}

/// Whose devices changed between two moments, as a user is told at the latter.
///
/// # Errors
///
/// When the database fails.
pub async fn changes(
    engine: &Engine,
    user: &UserId,
    from: &SyncToken,
    to: &SyncToken,
) -> Result<DeviceLists, Internal> {
    let mut conn = engine.storage.snapshot().await?;
    let (epochs, head) = (epochs::all(&mut conn).await?, facts::head(&mut conn).await?);
    let (after, until) = (from.clamped(&epochs, head), to.clamped(&epochs, head));
    let memberships = memberships::of_user(&mut conn, user.as_str()).await?;
    device_lists(&mut conn, user, &memberships, (after, until)).await
}

pub(crate) async fn device_lists(
    conn: &mut Conn,
    user: &UserId,
    memberships: &[MembershipRow],
    (after, until): (i64, i64),
) -> Result<DeviceLists, Internal> {
    if after >= until {
        return Ok(DeviceLists::default());
    }
    let changed = lists::changed_after(conn, user.as_str(), after).await?;
    let mut lists =
        DeviceLists { changed: changed.into_iter().collect(), ..DeviceLists::default() };
    // What one signed, one's other devices are to look at.
    lists.changed.extend(cross_signing::signed_after(conn, user.as_str(), after).await?);
    let moved: HashSet<String> =
        lists::moves_of(conn, user.as_str(), after, until).await?.into_iter().collect();
    let joined: HashSet<&String> =
        memberships.iter().filter(|row| row.membership == "join").map(|row| &row.room_id).collect();
    let entered: Vec<String> = moved.iter().filter(|room| joined.contains(room)).cloned().collect();
    let rooms: Vec<String> = moved.iter().chain(joined).cloned().collect();
    let mut others: BTreeSet<String> =
        lists::moved_in(conn, &rooms, after, until).await?.into_iter().collect();
    if !moved.is_empty() {
        let moved: Vec<String> = moved.into_iter().collect();
        others.extend(lists::members_of(conn, &moved).await?);
    }
    others.remove(user.as_str());
    if !others.is_empty() {
        compare(conn, user, after, others, &mut lists).await?;
    }
    if !entered.is_empty() {
        // Their other devices are in the room with this one.
        lists.changed.insert(user.to_string());
    }
    Ok(lists)
}

/// Of those who came or went, or whom the user came to or left: who shares a room only now, and who
/// shares none any more.
async fn compare(
    conn: &mut Conn,
    user: &UserId,
    after: i64,
    others: BTreeSet<String>,
    lists: &mut DeviceLists,
) -> Result<(), Internal> {
    let ids: Vec<String> = others.into_iter().collect();
    let sharing: HashSet<String> =
        memberships::sharing(conn, user.as_str(), &ids).await?.into_iter().collect();
    let all_along: HashSet<String> =
        lists::sharing_since(conn, user.as_str(), &ids, after).await?.into_iter().collect();
    for id in ids {
        if !sharing.contains(&id) {
            lists.left.insert(id);
        } else if !all_along.contains(&id) {
            lists.changed.insert(id);
        }
    }
    Ok(())
}

pub(crate) async fn supply(
    conn: &mut Conn,
    user: &UserId,
    device: &DeviceId,
) -> Result<Supply, Internal> {
    let (mut counts, mut fallback) = (Vec::new(), Vec::new());
    for row in one_time_keys::supply(conn, user.as_str(), device.as_str()).await? {
        match row.left {
            Some(left) => counts.push((row.algorithm, left)),
            None => fallback.push(row.algorithm),
        }
    }
    Ok(Supply { one_time_keys: counted(counts), fallback })
}

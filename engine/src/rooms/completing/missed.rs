//! Telling servers that were in a room unnoticed what changed meanwhile about the devices of its members
//! here.

use std::collections::{BTreeSet, HashSet};

use ruma::{OwnedEventId, UserId, events::StateEventType};
use starling_storage::{
    Fact,
    encryption::{self, lists},
    rooms::{
        self,
        partial::{self, PartialRow},
    },
};

use crate::{
    internal::Internal,
    rooms::{append::members::membership, batch::Batch},
    state::Changed,
};

/// How many members are looked at together.
const AT_A_TIME: usize = 1_000;

/// Adds what other servers in the room have missed, to a batch that makes the whole state the current
/// one.
///
/// # Errors
///
/// When the database fails. The batch is void then.
pub(super) async fn tell(batch: &mut Batch, row: &PartialRow) -> Result<(), Internal> {
    let mut conn = batch.engine.storage.read().await?;
    let since = row.device_list_pos;
    let changed = lists::local_changed_after(&mut conn, &row.room_id, since).await?;
    if changed.is_empty() {
        return Ok(());
    }
    let told = rooms::servers_in(&mut conn, &row.room_id).await?;
    let left = partial::servers_left(&mut conn, &row.room_id).await?;
    drop(conn);
    let mut missed: BTreeSet<String> = left.into_iter().collect();
    missed.extend(present_before(batch, row).await?);
    let joined = batch.servers.iter().filter(|(_, members)| **members > 0);
    missed.extend(joined.map(|(server, _)| server.clone()));
    let told: HashSet<String> = told.into_iter().collect();
    missed.retain(|server| !told.contains(server) && *server != batch.engine.config.server_name);
    for server in missed {
        batch.change.fact(Fact::Owed { server: server.clone() });
        for user_id in &changed {
            let remind = lists::Write::Remind { server: server.clone(), user_id: user_id.clone() };
            batch.change.write(encryption::Write::Lists(remind));
        }
    }
    Ok(())
}

/// The servers of those who were in the room before the join, and are not what they were then.
async fn present_before(batch: &Batch, row: &PartialRow) -> Result<HashSet<String>, Internal> {
    let join = OwnedEventId::try_from(row.join_event_id.as_str())?;
    let join = batch.event(&join).await?;
    let Some(before) = join.and_then(|join| join.state_before) else { return Ok(HashSet::new()) };
    let changed = batch.snapshots.diff(before, batch.room.row.current_state).await?;
    let is_member = |it: &&Changed| it.key.0 == StateEventType::RoomMember;
    let changed: Vec<&Changed> = changed.iter().filter(is_member).collect();
    let mut servers = HashSet::new();
    for some in changed.chunks(AT_A_TIME) {
        let ids: Vec<OwnedEventId> = some.iter().filter_map(|it| it.old.clone()).collect();
        let events = batch.events(&ids).await?;
        for it in some {
            let old = it.old.as_ref().and_then(|id| events.get(id));
            if membership(old.map(|event| &*event.pdu)) == "join"
                && let Ok(user_id) = <&UserId>::try_from(it.key.1.as_str())
            {
                servers.insert(user_id.server_name().to_string());
            }
        }
    }
    Ok(servers)
}

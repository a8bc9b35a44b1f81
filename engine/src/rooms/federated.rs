//! Rooms that are for the users of one server only (`m.federate`).
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mroomcreate>

use ruma::{ServerName, events::StateEventType};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch::Batch;
use crate::internal::Internal;

/// Whether the users of a server may be in the batch's room, as far as this goes. The rules of the room
/// keep them from doing anything there, but not others from inviting them.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn is_open_to(batch: &Batch, server: &ServerName) -> Result<bool, Internal> {
    let key = (StateEventType::RoomCreate, String::new());
    let state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    Ok(state.get(&key).is_none_or(|create| {
        create.sender.server_name() == server || is_federated(&create.content)
    }))
}

/// Whether the content of a create event makes a room for users of all servers.
pub(super) fn is_federated(create: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Create {
        #[serde(rename = "m.federate", default = "yes")]
        federate: bool,
    }
    const fn yes() -> bool {
        true
    }
    // What is no boolean keeps nobody out: the rules of the room refuse its create event.
    serde_json::from_str::<Create>(create.get()).map_or(true, |create| create.federate)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use crate::{
        rooms::{
            create::{self, Preset},
            directory::{self, Search},
            membership::{
                MembershipError,
                content::Member,
                invite::{self, Invite},
            },
        },
        test_support::{on_each_database, user, wanted_room},
    };

    #[tokio::test]
    async fn a_room_for_one_server_is_no_place_for_others() {
        on_each_database(async |engine| {
            let alice = user(&engine, "alice");
            let mut wanted = wanted_room(&alice, Preset::PublicChat);
            wanted.published = true;
            let content = json!({ "m.federate": false });
            wanted.creation_content = serde_json::from_value(content).unwrap();
            let room_id = create::create(&engine, &wanted).await.unwrap();
            let target = user_id!("@far:y.org");
            let (room_id, sender, member) = (&*room_id, &*alice, Member::default());
            let refused = invite::invite(&engine, Invite { room_id, sender, target, member }).await;
            assert!(matches!(refused, Err(MembershipError::Forbidden(_))), "{refused:?}");
            let target = &*user(&engine, "bob");
            let member = Member::default();
            invite::invite(&engine, Invite { room_id, sender, target, member }).await.unwrap();
            for (for_others, found) in [(false, 1), (true, 0)] {
                let search = Search { for_others, ..Search::default() };
                let page = directory::page(&engine, &search).await.unwrap();
                assert_eq!(page.chunk.len(), found);
            }
        })
        .await;
    }
}

//! Knocking: asking to be invited.

use ruma::OwnedEventId;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use starling_storage::{
    Fact, events as rows,
    memberships::{self, MembershipRow},
};

use super::{
    MembershipError,
    content::Member,
    join::{self, Join},
    local::{self, Change},
    remote::{Handshake, Made, Wish},
};
use crate::{
    Engine, Internal,
    at_most::AtMost,
    events::client,
    rooms::{
        blocked, room,
        serve::{
            invite::outlier,
            stripped::{self, StrippedError},
        },
    },
};

/// Knocks on a room.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn knock(engine: &Engine, knock: Join<'_>) -> Result<OwnedEventId, MembershipError> {
    let Join { user_id, room_id, via, reason, more } = knock;
    blocked::check(engine, room_id).await?;
    let member = Member { reason, more, ..Member::default() };
    if local::is_resident(engine, room_id).await? {
        let membership = "knock";
        let change = Change { room_id, sender: user_id, target: user_id, membership, member };
        return local::change(engine, change).await;
    }
    let servers = join::servers(engine, user_id, room_id, &via).await?;
    let handshake = Handshake::Knock;
    let wish = Wish { engine, handshake, room_id, user_id, member: &member };
    let mut last = MembershipError::UnknownRoom;
    for server in servers {
        match knock_by(&wish, &server).await {
            Ok(event_id) => return Ok(event_id),
            Err(error @ MembershipError::Internal(_)) => return Err(error),
            Err(error) => last = join::worse(last, error),
        }
    }
    Err(last)
}

async fn knock_by(
    wish: &Wish<'_>,
    server: &ruma::ServerName,
) -> Result<OwnedEventId, MembershipError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        knock_room_state: AtMost<Box<RawValue>, 1000>,
    }
    let made: Made = wish.make(server).await?;
    if !made.rules.authorization.knocking {
        return Err(MembershipError::Forbidden("nobody can knock on this room".to_owned()));
    }
    let answer: Answer = wish.send(&made).await?;
    let (pdu, rules) = (&made.pdu, &made.rules);
    let room =
        match stripped::read(wish.engine, &pdu.room_id, rules, &answer.knock_room_state.0).await {
            Ok(events) => events,
            // The knock was taken; a room of which nothing can be shown is still one.
            Err(StrippedError::Invalid(reason)) => {
                tracing::info!(server.name = %server, reason, "The state for a knock is dropped");
                vec![]
            }
            Err(StrippedError::Internal(error)) => return Err(error.into()),
        };
    note(wish.engine, &made, room).await?;
    Ok(pdu.event_id.clone())
}

/// Notes the knock beside the room, of which no more is known than what came with the answer.
async fn note(
    engine: &Engine,
    made: &Made,
    mut stripped: Vec<Box<RawValue>>,
) -> Result<(), MembershipError> {
    let pdu = &made.pdu;
    let _place = room::place(engine, &pdu.room_id).await;
    blocked::check(engine, &pdu.room_id).await?;
    // Who came into the room meanwhile knows better.
    if local::is_resident(engine, &pdu.room_id).await? {
        return Ok(());
    }
    stripped.push(client::to_stripped(pdu).map_err(Internal::from)?);
    let stripped = to_raw_value(&stripped).map_err(Internal::from)?;
    let (user_id, room_id) = (pdu.sender.to_string(), pdu.room_id.to_string());
    let mut change = starling_storage::Change::new();
    change.write(rows::Write::Put(Box::new(outlier(engine, pdu))));
    let at = change.fact(Fact::Membership { user_id: user_id.clone(), room_id: room_id.clone() });
    let row = MembershipRow {
        user_id,
        room_id,
        membership: "knock".to_owned(),
        event_id: pdu.event_id.to_string(),
        sender: pdu.sender.to_string(),
        local: true,
        display_name: pdu.content_str("displayname"),
        avatar_url: pdu.content_str("avatar_url"),
        stripped_state: Some(stripped.get().to_owned()),
        room_version: Some(made.version.to_string()),
        ..MembershipRow::default()
    };
    change.write(memberships::Write::Put { row, at });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

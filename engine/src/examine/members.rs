//! Whether the tables of members and servers say what the current state of a room says.

use std::collections::BTreeMap;

use ruma::UserId;
use serde::Deserialize;
use starling_storage::{Conn, examine as rows};

use super::{Examined, Found, PAGE};
use crate::internal::Internal;

/// What the members of a room come to.
#[derive(Default)]
struct Sum {
    joined: i64,
    invited: i64,
    servers: BTreeMap<String, i64>,
    /// What is wrong about this server's own users.
    own: Vec<String>,
}

/// Looks at the members of a room.
pub(super) async fn look(
    examined: &Examined<'_>,
    conn: &mut Conn,
    room: &rows::Room,
    found: &mut Found,
) -> Result<(), Internal> {
    let (mut sum, mut after) = (Sum::default(), String::new());
    loop {
        let members = rows::members(conn, &room.room_id, &after, PAGE).await?;
        let Some(last) = members.last() else { break };
        after.clone_from(&last.user_id);
        for member in &members {
            add(examined, room, member, &mut sum, found);
        }
    }
    let own = examined.server_name.as_str();
    // Of a room that this server left, its users may learn something without the room.
    if sum.servers.contains_key(own) {
        sum.own.drain(..).for_each(|what| found.wrong(what));
    }
    if (sum.joined, sum.invited) != (room.joined_members, room.invited_members) {
        found.wrong(format!("the members of {} are counted wrongly", room.room_id));
    }
    let noted: BTreeMap<String, i64> =
        rows::servers(conn, &room.room_id).await?.into_iter().collect();
    if noted != sum.servers {
        found.wrong(format!("the servers in {} are noted wrongly", room.room_id));
    }
    Ok(())
}

fn add(
    examined: &Examined<'_>,
    room: &rows::Room,
    member: &rows::Member,
    sum: &mut Sum,
    found: &mut Found,
) {
    let Ok(user_id) = <&UserId>::try_from(member.user_id.as_str()) else { return };
    let membership = membership(&member.json);
    sum.joined += i64::from(membership == "join");
    sum.invited += i64::from(membership == "invite");
    if membership == "join" {
        *sum.servers.entry(user_id.server_name().to_string()).or_default() += 1;
    }
    if member.noted.as_ref() == Some(&(member.event_id.clone(), membership)) {
        return;
    }
    let what = format!("the membership of {user_id} in {} is noted wrongly", room.room_id);
    match user_id.server_name() == examined.server_name {
        true => sum.own.push(what),
        false => found.wrong(what),
    }
}

/// The membership that an event gives; one that cannot be read was told of.
fn membership(json: &str) -> String {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        membership: String,
    }
    let event = serde_json::from_str::<Event>(json);
    event.map_or_else(|_| "leave".to_owned(), |event| event.content.membership)
}

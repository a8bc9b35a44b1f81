//! Every stored event: its hashes, its signatures, and what the tables beside it say of it.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedServerName, RoomVersionId, UInt,
    room_version_rules::RoomVersionRules,
};
use starling_storage::{events::EventRow, examine as rows, federation};

use super::{Examined, Found, PAGE, event};
use crate::{
    events::{
        Pdu,
        verify::{self, ServerKey, ServerKeys},
    },
    internal::Internal,
    rooms::versions,
};

/// What is found out once.
struct Known {
    rules: HashMap<String, RoomVersionRules>,
    keys: ServerKeys,
}

/// Looks at all events of rooms whose version is known.
pub(super) async fn look(examined: &Examined<'_>, found: &mut Found) -> Result<(), Internal> {
    let mut known = Known { rules: rules(examined, found).await?, keys: own_keys(examined).await? };
    let mut after = (String::new(), String::new());
    loop {
        let mut conn = examined.db.read().await?;
        let names = rows::event_names(&mut conn, (&after.0, &after.1), PAGE).await?;
        drop(conn);
        let Some(last) = names.last().cloned() else { return Ok(()) };
        after = last;
        let mut by_room = BTreeMap::<String, Vec<String>>::new();
        for (event_id, room_id) in names {
            by_room.entry(room_id).or_default().push(event_id);
        }
        for (room_id, event_ids) in by_room {
            look_at_some(examined, &mut known, (&room_id, &event_ids), found).await?;
        }
    }
}

async fn rules(
    examined: &Examined<'_>,
    found: &mut Found,
) -> Result<HashMap<String, RoomVersionRules>, Internal> {
    let mut rules = HashMap::new();
    for room in rows::rooms(&mut examined.db.read().await?).await? {
        let version = RoomVersionId::try_from(room.room_version.as_str()).ok();
        match version.and_then(|version| versions::rules(&version)) {
            Some(its) => drop(rules.insert(room.room_id, its)),
            None => found.wrong(format!(
                "{} is of the unknown version {:?}",
                room.room_id, room.room_version
            )),
        }
    }
    Ok(rules)
}

/// Events of one room. Where they cannot be read together, each is tried by itself.
async fn look_at_some(
    examined: &Examined<'_>,
    known: &mut Known,
    (room_id, event_ids): (&str, &[String]),
    found: &mut Found,
) -> Result<(), Internal> {
    // Of a room that this server is not in, it may have the event of an invite.
    let Some(rules) = known.rules.get(room_id).cloned() else { return Ok(()) };
    if let Ok(read) = read(examined, room_id, event_ids, &rules).await {
        return judge(examined, known, &rules, read, found).await;
    }
    for event_id in event_ids {
        let read = read(examined, room_id, std::slice::from_ref(event_id), &rules).await;
        if let Some(read) = found.read(&format!("{event_id} in {room_id}"), read) {
            judge(examined, known, &rules, read, found).await?;
        }
    }
    Ok(())
}

/// Rows, what each of them says, and what stands beside them.
type Read = (Vec<(EventRow, Result<Pdu, String>)>, rows::Beside);

/// All that is said of some events at one moment.
async fn read(
    examined: &Examined<'_>,
    room_id: &str,
    event_ids: &[String],
    rules: &RoomVersionRules,
) -> Result<Read, Internal> {
    let prev_ids = |row: &EventRow| {
        let pdu = event::read(row, rules).ok();
        let ids = pdu.into_iter().flat_map(|pdu| pdu.prev_events);
        ids.map(|id| id.to_string()).collect()
    };
    let mut conn = examined.db.snapshot().await?;
    let (rows, beside) = rows::events(&mut conn, room_id, event_ids, prev_ids).await?;
    let read = |row: EventRow| {
        let pdu = event::read(&row, rules);
        (row, pdu)
    };
    Ok((rows.into_iter().map(read).collect(), beside))
}

async fn judge(
    examined: &Examined<'_>,
    known: &mut Known,
    rules: &RoomVersionRules,
    (events, beside): Read,
    found: &mut Found,
) -> Result<(), Internal> {
    for (row, pdu) in &events {
        found.looked_at += 1;
        let name = format!("{} in {}", row.event_id, row.room_id);
        let pdu = match pdu {
            Ok(pdu) => pdu,
            Err(reason) => {
                found.wrong(format!("{name} {reason}"));
                continue;
            }
        };
        learn_keys(examined, known, pdu, rules).await?;
        let follows = beside.edges.iter().filter(|(_, event_id)| *event_id == row.event_id);
        let relations = beside.relations.iter().filter(|it| it.event_id == row.event_id);
        let beside = event::Beside {
            rules,
            own: examined.server_name,
            keys: &known.keys,
            follows: follows.map(|(prev_id, _)| prev_id.as_str()).collect(),
            relations: relations.collect(),
        };
        let judgement = event::judge(row, pdu, &beside);
        found.unjudged += u64::from(judgement.unjudged);
        judgement.wrong.iter().for_each(|what| found.wrong(format!("{name} {what}")));
    }
    Ok(())
}

/// Looks up the keys of those who signed, as far as this server has met them.
async fn learn_keys(
    examined: &Examined<'_>,
    known: &mut Known,
    pdu: &Pdu,
    rules: &RoomVersionRules,
) -> Result<(), Internal> {
    let Ok(servers) = verify::required_servers(pdu, rules) else { return Ok(()) };
    for server in servers {
        if known.keys.contains_key(&server) {
            continue;
        }
        let keys = their_keys(examined, &server).await?;
        known.keys.insert(server, keys);
    }
    Ok(())
}

async fn their_keys(
    examined: &Examined<'_>,
    server: &OwnedServerName,
) -> Result<BTreeMap<String, ServerKey>, Internal> {
    let mut conn = examined.db.read().await?;
    let keys = federation::remote_keys(&mut conn, server.as_str()).await?.into_iter();
    Ok(keys.filter_map(|key| usable(key.key_id, &key.public_key, key.valid_until_ts)).collect())
}

async fn own_keys(examined: &Examined<'_>) -> Result<ServerKeys, Internal> {
    let mut conn = examined.db.read().await?;
    let keys = federation::server_keys(&mut conn).await?.into_iter();
    let keys = keys
        .filter_map(|key| usable(key.key_id, &key.public_key, key.expired_ts.unwrap_or(i64::MAX)));
    Ok([(examined.server_name.to_owned(), keys.collect())].into())
}

fn usable(key_id: String, public_key: &str, until: i64) -> Option<(String, ServerKey)> {
    let public_key = STANDARD_NO_PAD.decode(public_key).ok()?;
    let until = UInt::try_from(until.max(0)).unwrap_or(UInt::MAX);
    Some((key_id, ServerKey { public_key, valid_until_ts: MilliSecondsSinceUnixEpoch(until) }))
}

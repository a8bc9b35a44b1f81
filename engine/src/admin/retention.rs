//! Removing what is older than a room's policy allows (MSC1763, `m.room.retention`).
//!
//! A room's policy is its state; the server's settings bound what rooms may ask for, and may have a
//! policy for rooms without one. A room for which there is none is left alone.

use std::{collections::HashMap, time::Duration};

use ruma::RoomId;
use serde::{Deserialize, Serialize};
use starling_storage::admin::{purge, rooms as rows};

use super::history;
use crate::{Engine, Internal, config::Retention, rooms::room};

/// How often it is looked for what has expired.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// How many rooms are read at a time.
const CHUNK: i64 = 200;

/// How many events of one room go in one round, so that no room holds up the others.
const MOST_OF_ONE: usize = 20_000;

/// The state event that says for how long messages are kept.
const KIND: &str = "m.room.retention";

#[derive(Deserialize)]
struct StateEvent {
    content: Policy,
}

/// What a room says, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
struct Policy {
    min_lifetime: Option<i64>,
    max_lifetime: Option<i64>,
}

impl Policy {
    /// Whether it says something that can be followed.
    fn is_sound(&self) -> bool {
        let positive = |time: Option<i64>| time.is_none_or(|time| time > 0);
        let ordered = match (self.min_lifetime, self.max_lifetime) {
            (Some(min), Some(max)) => min <= max,
            _ => true,
        };
        positive(self.min_lifetime) && positive(self.max_lifetime) && ordered
    }
}

/// For how long messages of a room are kept, in milliseconds; `None`: for ever. Pure.
fn lifetime(settings: &Retention, policy: Option<Policy>) -> Option<i64> {
    let said = policy.filter(Policy::is_sound).and_then(|policy| policy.max_lifetime);
    let lifetime = said.or(settings.default_ms)?;
    let lifetime = settings.shortest_ms.map_or(lifetime, |shortest| lifetime.max(shortest));
    Some(settings.longest_ms.map_or(lifetime, |longest| lifetime.min(longest)))
}

/// What would go from a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The room.
    pub room_id: String,
    /// For how long its messages are kept, in milliseconds.
    pub max_lifetime: i64,
    /// How many events are older.
    pub events: i64,
}

/// What would go now from which rooms, without removing it.
///
/// # Errors
///
/// When the database fails.
pub async fn plan(engine: &Engine) -> Result<Vec<Plan>, Internal> {
    let mut plans = Vec::new();
    let mut after = String::new();
    loop {
        let (policies, last) = policies(engine, &after).await?;
        for (room_id, max_lifetime) in policies {
            let before = engine.clock.now_ms() - max_lifetime;
            let mut conn = engine.storage.read().await?;
            let events = purge::count_expired(&mut conn, &room_id, before).await?;
            if events > 0 {
                plans.push(Plan { room_id, max_lifetime, events });
            }
        }
        match last {
            Some(last) => after = last,
            None => return Ok(plans),
        }
    }
}

/// Removes what has expired, again and again until the process shuts down.
pub async fn run(engine: Engine) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = engine.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match remove_expired(&engine).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "what had expired was removed"),
            Err(error) => tracing::warn!(%error, "what has expired could not be removed yet"),
        }
    }
}

/// One round over all rooms. Says how many events went.
///
/// # Errors
///
/// When the database fails.
pub async fn remove_expired(engine: &Engine) -> Result<usize, Internal> {
    let (mut after, mut removed) = (String::new(), 0);
    loop {
        let (policies, last) = policies(engine, &after).await?;
        for (room_id, max_lifetime) in policies {
            removed += in_room(engine, &RoomId::parse(room_id)?, max_lifetime).await?;
        }
        match last {
            Some(last) => after = last,
            None => return Ok(removed),
        }
    }
}

async fn in_room(engine: &Engine, room_id: &RoomId, max_lifetime: i64) -> Result<usize, Internal> {
    let before = engine.clock.now_ms() - max_lifetime;
    let mut removed = 0;
    while removed < MOST_OF_ONE && !engine.shutdown.is_cancelled() {
        // It is looked without holding the room, for mostly there is nothing.
        let mut conn = engine.storage.read().await?;
        let old = purge::expired(&mut conn, room_id.as_str(), before, history::BATCH).await?;
        drop(conn);
        if old.is_empty() {
            break;
        }
        let Some(guard) = room::lock(engine, room_id).await? else { break };
        let mut conn = engine.storage.read().await?;
        let old = purge::may_go(&mut conn, room_id.as_str(), &old).await?;
        drop(conn);
        if old.is_empty() {
            break;
        }
        removed += old.len();
        history::remove(engine, &guard, &old, None).await?;
    }
    Ok(removed)
}

/// The next rooms for which there is a policy, with how long it keeps messages, and where to go on.
async fn policies(
    engine: &Engine,
    after: &str,
) -> Result<(Vec<(String, i64)>, Option<String>), Internal> {
    let mut conn = engine.storage.read().await?;
    let rooms = rows::after(&mut conn, after, CHUNK).await?;
    let last = rooms.last().map(|room| room.room_id.clone());
    let ids: Vec<String> = rooms.into_iter().map(|room| room.room_id).collect();
    let state = rows::state_of(&mut conn, &ids, &[KIND.to_owned()]).await?;
    // What has another form is no policy.
    let said: HashMap<String, Policy> = state
        .into_iter()
        .filter_map(|(room_id, _, json)| {
            Some((room_id, serde_json::from_str::<StateEvent>(&json).ok()?.content))
        })
        .collect();
    let settings = &engine.config.retention;
    let policies = ids.into_iter().filter_map(|room_id| {
        let lifetime = lifetime(settings, said.get(&room_id).copied())?;
        Some((room_id, lifetime))
    });
    Ok((policies.collect(), last))
}

#[cfg(test)]
mod tests {
    use ruma::OwnedEventId;
    use serde_json::json;

    use super::*;
    use crate::{
        events::store,
        reading::{
            context,
            stage::{ALICE, BOB, Stage, asking, message, on_stage, user},
        },
    };

    const DAY: i64 = 24 * 60 * 60 * 1_000;

    fn policy(min: Option<i64>, max: Option<i64>) -> Policy {
        Policy { min_lifetime: min, max_lifetime: max }
    }

    #[test]
    fn the_settings_bound_what_a_room_says() {
        let settings =
            |default_ms, shortest_ms, longest_ms| Retention { default_ms, shortest_ms, longest_ms };
        let free = settings(None, None, None);
        assert_eq!(lifetime(&free, None), None);
        assert_eq!(lifetime(&free, Some(policy(None, Some(5)))), Some(5));
        assert_eq!(lifetime(&free, Some(policy(Some(6), None))), None);
        for unsound in [policy(None, Some(0)), policy(None, Some(-1)), policy(Some(6), Some(5))] {
            assert_eq!(lifetime(&free, Some(unsound)), None, "{unsound:?}");
        }
        let bound = settings(Some(50), Some(10), Some(100));
        assert_eq!(lifetime(&bound, None), Some(50));
        assert_eq!(lifetime(&bound, Some(policy(None, Some(1)))), Some(10));
        assert_eq!(lifetime(&bound, Some(policy(None, Some(1_000)))), Some(100));
        assert_eq!(lifetime(&bound, Some(policy(Some(6), Some(5)))), Some(50));
    }

    /// A message of a number of days ago, or in the future.
    async fn say(stage: &mut Stage, body: &str, days: i64) -> OwnedEventId {
        let ts = stage.engine.clock.now_ms() - days * DAY;
        stage.room.set_time(ts.try_into().unwrap());
        stage.say(ALICE, body).await.event_id.clone()
    }

    async fn is_there(stage: &Stage, event_id: &OwnedEventId) -> bool {
        let (engine, room) = (&stage.engine, &stage.room.room_id);
        let stored = store::get(engine, room, event_id).await.unwrap().is_some();
        let shown = context::event(engine, asking(&user(ALICE)), room, event_id).await.is_ok();
        assert_eq!(stored, shown);
        stored
    }

    #[tokio::test]
    async fn what_is_older_than_the_policy_goes_and_the_rest_stays() {
        on_stage(async |mut stage| {
            stage.member(BOB, BOB, "join").await;
            let old = say(&mut stage, "old", 10).await;
            let lying = say(&mut stage, "from the future", -400).await;
            let young = say(&mut stage, "young", 1).await;
            assert_eq!(plan(&stage.engine).await.unwrap(), []);
            assert_eq!(remove_expired(&stage.engine).await.unwrap(), 0);
            assert!(is_there(&stage, &old).await, "a room without a policy is left alone");

            let kept = stage.set("m.room.topic", json!({ "topic": "old" })).await.event_id.clone();
            let content = json!({ "max_lifetime": 5 * DAY });
            stage.set("m.room.retention", content).await;
            let newest = say(&mut stage, "newest", 20).await;
            stage.set("m.room.name", json!({ "name": "after it" })).await;
            let expected =
                Plan { room_id: stage.room.room_id.to_string(), max_lifetime: 5 * DAY, events: 1 };
            assert_eq!(plan(&stage.engine).await.unwrap(), [expected]);
            assert_eq!(remove_expired(&stage.engine).await.unwrap(), 1);
            assert!(!is_there(&stage, &old).await);
            for event in [&lying, &young, &kept, &newest] {
                assert!(is_there(&stage, event).await, "{event}");
            }
            assert_eq!(remove_expired(&stage.engine).await.unwrap(), 0);
            stage.say(ALICE, "the room goes on").await;
            assert_eq!(remove_expired(&stage.engine).await.unwrap(), 1);
            assert!(!is_there(&stage, &newest).await);
        })
        .await;
    }

    #[tokio::test]
    async fn batches_are_bounded_and_all_of_it_goes() {
        on_stage(async |mut stage| {
            stage.set("m.room.retention", json!({ "max_lifetime": DAY })).await;
            let mut pdus = Vec::new();
            for _ in 0..2 * history::BATCH + 7 {
                pdus.push(stage.room.send(message(ALICE, "x")));
            }
            stage.append(&pdus).await;
            let all = usize::try_from(2 * history::BATCH + 6).unwrap();
            assert_eq!(remove_expired(&stage.engine).await.unwrap(), all);
        })
        .await;
    }

    #[tokio::test]
    async fn what_says_to_be_of_the_future_goes_when_it_has_been_here_for_long() {
        on_stage(async |mut stage| {
            let lying = say(&mut stage, "from the future", -400).await;
            let newest = say(&mut stage, "too", -400).await;
            stage.set("m.room.retention", json!({ "max_lifetime": 1 })).await;
            assert_eq!(plan(&stage.engine).await.unwrap().first().map(|plan| plan.events), Some(1));
            assert_eq!(remove_expired(&stage.engine).await.unwrap(), 1);
            assert!(!is_there(&stage, &lying).await && is_there(&stage, &newest).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_room_from_which_nothing_goes_is_not_waited_for() {
        on_stage(async |mut stage| {
            stage.set("m.room.retention", json!({ "max_lifetime": DAY })).await;
            say(&mut stage, "young", 0).await;
            let _held = room::lock(&stage.engine, &stage.room.room_id).await.unwrap();
            let round = remove_expired(&stage.engine);
            let round = tokio::time::timeout(Duration::from_secs(20), round).await;
            assert_eq!(round.expect("the room is waited for").unwrap(), 0);
        })
        .await;
    }
}

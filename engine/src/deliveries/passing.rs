//! Typing and presence, which live in memory: an application service learns how it is, not how it came
//! to be so.

use serde_json::{Value, json};

use super::interest::Interests;
use crate::{Engine, Internal, presence};

/// How many ephemeral events a transaction has at most, beside receipts.
const MOST: usize = 100;

/// In how many rooms of somebody it is looked for the application service's users.
const MOST_ROOMS: usize = 200;

/// How far an application service has been told who types and who is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    typing: u64,
    presence: u64,
}

impl Told {
    /// It knows nothing but what comes from now on.
    pub(super) fn until_now(engine: &Engine) -> Self {
        Self { typing: engine.typing.serial(), presence: engine.presence.serial() }
    }
}

/// What is new, and how far it has been told then.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn news(
    engine: &Engine,
    interests: &mut Interests,
    told: Told,
) -> Result<(Vec<Value>, Told), Internal> {
    let now = Told::until_now(engine);
    let mut news = Vec::new();
    for (room_id, users) in engine.typing.changed_rooms(told.typing, now.typing) {
        if news.len() < MOST && interests.in_room(&room_id).await? {
            let content = json!({ "user_ids": users });
            news.push(json!({ "type": "m.typing", "room_id": room_id, "content": content }));
        }
    }
    let now_ms = engine.clock.now_ms();
    for user_id in engine.presence.changed(told.presence, now.presence) {
        let Some(presence) = engine.presence.get(&user_id) else { continue };
        if news.len() < MOST && interests.in_user(&user_id, MOST_ROOMS).await? {
            let content = presence::content(&presence, now_ms);
            news.push(json!({ "type": "m.presence", "sender": user_id, "content": content }));
        }
    }
    Ok((news, now))
}

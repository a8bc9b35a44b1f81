//! How much a user has not read.

use std::collections::{BTreeMap, HashMap};

use ruma::UserId;
use starling_storage::{
    Conn,
    timeline::Entry,
    unread::{self, Mark, Numbers},
};

pub use starling_storage::unread::MAIN;

use crate::Internal;

#[cfg(test)]
mod tests;

/// The mark of a room with all its threads.
const WHOLE_ROOM: &str = "";

/// What a user has not read in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// In the main timeline.
    pub main: Numbers,
    /// In threads that have something unread, by the thread's root.
    pub threads: BTreeMap<String, Numbers>,
}

impl Unread {
    /// In the room.
    #[must_use]
    pub fn total(&self) -> Numbers {
        self.threads.values().fold(self.main, |sum, thread| Numbers {
            notify: sum.notify + thread.notify,
            highlight: sum.highlight + thread.highlight,
        })
    }
}

/// What a user has not read in some rooms.
///
/// # Errors
///
/// When the database fails.
pub async fn count(
    conn: &mut Conn,
    user_id: &UserId,
    rooms: &[String],
) -> Result<HashMap<String, Unread>, Internal> {
    let mut counts: HashMap<String, Unread> = HashMap::new();
    for part in unread::counts(conn, user_id.as_str(), rooms).await? {
        let room = counts.entry(part.room_id).or_default();
        let numbers = match part.thread.as_str() {
            MAIN => &mut room.main,
            _ => room.threads.entry(part.thread).or_default(),
        };
        numbers.notify += part.numbers.notify;
        numbers.highlight += part.numbers.highlight;
    }
    for room in counts.values_mut() {
        room.threads.retain(|_, numbers| *numbers != Numbers::default());
    }
    Ok(counts)
}

/// The mark that says: read up to this event, in the whole room (`None`) or in one thread.
#[must_use]
pub fn mark(user_id: &UserId, event: &Entry, thread: Option<&str>) -> Mark {
    Mark {
        user_id: user_id.to_string(),
        room_id: event.room_id.clone(),
        thread: thread.unwrap_or(WHOLE_ROOM).to_owned(),
        pos: event.pos,
    }
}

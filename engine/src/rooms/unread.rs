//! How much a user has not read: differences of running numbers.
//!
//! Every event stands in one thread, `main` being the one of those that are in no other. A mark
//! remembers the running number of its thread where the user has read up to; the mark of the whole
//! room (an unthreaded receipt, an own message, the join) counts for each thread as of its position.
//! Highlights are not counted here: they are a matter of push rules.

use std::collections::{BTreeMap, HashMap};

use ruma::UserId;
use starling_storage::{
    Conn,
    timeline::{self, Entry, UnreadMark},
};

use crate::Internal;

/// The thread of events that are in no other.
pub const MAIN: &str = "main";

/// The mark of a room with all its threads.
const WHOLE_ROOM: &str = "";

/// What a user has not read in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Notifying events in the main timeline.
    pub main: i64,
    /// Notifying events in threads that have some, by the thread's root.
    pub threads: BTreeMap<String, i64>,
}

impl Unread {
    /// Notifying events in the room.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.main + self.threads.values().sum::<i64>()
    }
}

/// What a user has not read in some rooms, given as ID and running number.
///
/// # Errors
///
/// When the database fails.
pub async fn count(
    conn: &mut Conn,
    user_id: &UserId,
    rooms: &[(String, i64)],
) -> Result<HashMap<String, Unread>, Internal> {
    let ids: Vec<String> = rooms.iter().map(|(room_id, _)| room_id.clone()).collect();
    let mut marks: HashMap<String, Vec<UnreadMark>> = HashMap::new();
    for mark in timeline::unread_marks(conn, user_id.as_str(), &ids).await? {
        marks.entry(mark.room_id.clone()).or_default().push(mark);
    }
    let mut counts = HashMap::new();
    for (room_id, notify_count) in rooms {
        let marks = marks.remove(room_id).unwrap_or_default();
        let count = count_one(conn, room_id, *notify_count, &marks).await?;
        counts.insert(room_id.clone(), count);
    }
    Ok(counts)
}

async fn count_one(
    conn: &mut Conn,
    room_id: &str,
    notify_count: i64,
    marks: &[UnreadMark],
) -> Result<Unread, Internal> {
    let mark = |thread: &str| marks.iter().find(|mark| mark.thread_root == thread);
    let (pos, room_then) =
        mark(WHOLE_ROOM).map_or((i64::MIN, 0), |mark| (mark.pos, mark.notify_count));
    let remembered = |thread: &str| mark(thread).map_or(0, |mark| mark.notify_count);
    let threads = timeline::thread_counts(conn, room_id, pos).await?;
    let in_threads_now: i64 = threads.iter().map(|thread| thread.now).sum();
    let in_threads_then: i64 = threads.iter().map(|thread| thread.then).sum();
    let main_read = (room_then - in_threads_then).max(remembered(MAIN));
    let unread = |thread: timeline::ThreadCount| {
        let read = thread.then.max(remembered(&thread.thread_root));
        (thread.thread_root, (thread.now - read).max(0))
    };
    Ok(Unread {
        main: (notify_count - in_threads_now - main_read).max(0),
        threads: threads.into_iter().map(unread).filter(|(_, count)| *count > 0).collect(),
    })
}

/// The mark that says: read up to this event, in the whole room (`None`) or in one thread.
///
/// # Errors
///
/// When the database fails.
pub async fn mark(
    conn: &mut Conn,
    user_id: &UserId,
    event: &Entry,
    thread: Option<&str>,
) -> Result<UnreadMark, Internal> {
    let notify_count = match thread {
        None => event.notify_count,
        Some(MAIN) => {
            let threads = timeline::thread_counts(conn, &event.room_id, event.pos).await?;
            event.notify_count - threads.iter().map(|thread| thread.then).sum::<i64>()
        }
        Some(root) => {
            let threads = timeline::thread_counts(conn, &event.room_id, event.pos).await?;
            let thread = threads.iter().find(|thread| thread.thread_root == root);
            thread.map_or(0, |thread| thread.then)
        }
    };
    Ok(UnreadMark {
        user_id: user_id.to_string(),
        room_id: event.room_id.clone(),
        thread_root: thread.unwrap_or(WHOLE_ROOM).to_owned(),
        pos: event.pos,
        notify_count,
    })
}

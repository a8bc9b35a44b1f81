//! What this process remembers of rooms by their versions: a version is what a room is between two
//! changes.

use std::{fmt, sync::Arc};

use moka::sync::Cache;
use ruma::RoomId;
use starling_storage::rooms::RoomRow;

/// Something that follows from the state of a room, as it was worked out for its version.
#[derive(Clone)]
pub struct PerVersion<T>(Cache<(String, i64), Arc<T>>);

impl<T: Send + Sync + 'static> PerVersion<T> {
    /// Remembers as much as weighs no more than `most`.
    pub fn new(most: u64, weigh: fn(&T) -> usize) -> Self {
        let weigh = move |_: &(String, i64), it: &Arc<T>| weigh(it).try_into().unwrap_or(u32::MAX);
        Self(Cache::builder().weigher(weigh).max_capacity(most).build())
    }

    /// What is remembered of a room as it is.
    pub fn get(&self, room: &RoomRow) -> Option<Arc<T>> {
        self.0.get(&(room.room_id.clone(), room.version))
    }

    /// Remembers it.
    pub fn put(&self, room: &RoomRow, it: Arc<T>) {
        self.0.insert((room.room_id.clone(), room.version), it);
    }

    /// Forgets a room that is there no more: another one of its ID begins with the same versions.
    pub fn forget_room(&self, room_id: &RoomId) {
        for (key, _) in &self.0 {
            if key.0 == room_id.as_str() {
                self.0.invalidate(&*key);
            }
        }
    }
}

impl<T> fmt::Debug for PerVersion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerVersion").finish_non_exhaustive()
    }
}

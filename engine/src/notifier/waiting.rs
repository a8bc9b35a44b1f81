//! Who waits for what, and what they have heard.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ruma::UserId;
use starling_storage::{Fact, Positioned};
use tokio_util::sync::CancellationToken;

/// How many pieces of news are kept for somebody who still reads; one who misses more is woken.
const KEPT: usize = 256;

/// In how many rooms something may be new until it is easier to look at all of them.
const MOST_ROOMS: usize = 8;

/// What is new to somebody who waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The rooms in which something was said or read.
    pub rooms: BTreeSet<String>,
    /// Whether a device of theirs has more or fewer keys for others.
    pub supply: bool,
    /// Whether anything else may be new: members, account data, devices, or what has no position.
    pub more: bool,
}

impl Heard {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn note(&mut self, news: &News) {
        let News::Fact(Positioned { fact, .. }) = news else { return self.more = true };
        match fact {
            Fact::Event { room_id, member: None, .. } | Fact::Receipt { room_id, .. } => {
                if !self.rooms.contains(room_id) {
                    self.rooms.insert(room_id.clone());
                    self.more |= self.rooms.len() > MOST_ROOMS;
                }
            }
            Fact::Supply { .. } => self.supply = true,
            _ => self.more = true,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum News {
    Fact(Positioned),
    Typing(String),
    /// Somebody's presence, in rooms.
    Presence(String, Vec<String>),
    /// A change of somebody's devices at a position, of which those in rooms are told.
    Devices(i64, String, Vec<String>),
    /// Something at a position that may concern anybody.
    Anything(i64),
}

impl News {
    /// Whether somebody who read everything up to a position has not seen it.
    fn is_after(&self, read_until: i64) -> bool {
        match self {
            Self::Fact(fact) => fact.pos > read_until,
            Self::Devices(pos, ..) | Self::Anything(pos) => *pos > read_until,
            Self::Typing(_) | Self::Presence(..) => true,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    next_id: u64,
    waiters: HashMap<u64, Waiter>,
    by_user: HashMap<String, HashSet<u64>>,
    by_room: HashMap<String, HashSet<u64>>,
    /// Those who still read.
    reading: HashSet<u64>,
}

#[derive(Debug)]
struct Waiter {
    user_id: String,
    rooms: Arc<Vec<String>>,
    /// Up to where everything was read.
    read_until: i64,
    /// What was heard while it waits.
    heard: Heard,
    /// Cancelled when something is.
    wake: CancellationToken,
    /// What was published while the waiter reads.
    kept: Vec<News>,
}

impl Waiting {
    /// Adds somebody who still reads.
    pub(super) fn add(&mut self, user_id: &UserId) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let waiter = Waiter {
            user_id: user_id.to_string(),
            rooms: Arc::default(),
            read_until: 0,
            heard: Heard::default(),
            wake: CancellationToken::new(),
            kept: Vec::new(),
        };
        self.by_user.entry(waiter.user_id.clone()).or_default().insert(id);
        self.waiters.insert(id, waiter);
        self.reading.insert(id);
        id
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let indexes = [&self.by_user, &self.by_room];
        let is_unnamed = indexes.iter().all(|index| index.is_empty());
        self.waiters.is_empty() && self.reading.is_empty() && is_unnamed
    }

    /// One who read up to a position begins to wait.
    pub(super) fn begin(&mut self, id: u64, rooms: Vec<String>, read_until: i64) {
        self.reading.remove(&id);
        for room_id in &rooms {
            self.by_room.entry(room_id.clone()).or_default().insert(id);
        }
        let Some(waiter) = self.waiters.get_mut(&id) else { return };
        waiter.rooms = Arc::new(rooms);
        let kept = std::mem::take(&mut waiter.kept);
        waiter.read_until = read_until;
        let unread = |news: &&News| news.is_after(read_until);
        let concerns = |news: &&News| self.concerned(news).contains(&id);
        let missed: Vec<&News> = kept.iter().filter(unread).filter(concerns).collect();
        let Some(waiter) = self.waiters.get_mut(&id).filter(|_| !missed.is_empty()) else { return };
        missed.into_iter().for_each(|news| waiter.heard.note(news));
        waiter.wake.cancel();
    }

    /// Lets those whom it concerns hear of news. Those of them who did not know of any yet are to be woken.
    pub(super) fn publish(&mut self, news: &News) -> Vec<CancellationToken> {
        let mut wakes = Vec::new();
        for id in self.concerned(news) {
            let waiter = self.waiters.get_mut(&id);
            let Some(waiter) = waiter.filter(|waiter| news.is_after(waiter.read_until)) else {
                continue;
            };
            if waiter.heard.is_empty() {
                wakes.push(waiter.wake.clone());
            }
            waiter.heard.note(news);
        }
        for id in &self.reading {
            if let Some(waiter) = self.waiters.get_mut(id) {
                waiter.keep(news);
            }
        }
        wakes
    }

    /// Those whom the news may concern, of those who wait.
    fn concerned(&self, news: &News) -> HashSet<u64> {
        let in_room = |room_id: &str| self.by_room.get(room_id).into_iter().flatten().copied();
        let of_user = |user_id: &str| self.by_user.get(user_id).into_iter().flatten().copied();
        let ids: HashSet<u64> = match news {
            News::Anything(_) => self.waiters.keys().copied().collect(),
            News::Typing(room_id) => in_room(room_id).collect(),
            News::Presence(user_id, rooms) | News::Devices(_, user_id, rooms) => {
                rooms.iter().flat_map(|room_id| in_room(room_id)).chain(of_user(user_id)).collect()
            }
            News::Fact(fact) => match &fact.fact {
                Fact::Event { room_id, member, .. } => {
                    let member = member.iter().flat_map(|user_id| of_user(user_id));
                    in_room(room_id).chain(member).collect()
                }
                Fact::State { room_id } => in_room(room_id).collect(),
                Fact::Receipt { room_id, user_id, private: false } => {
                    in_room(room_id).chain(of_user(user_id)).collect()
                }
                Fact::Membership { user_id, .. }
                | Fact::AccountData { user_id, .. }
                | Fact::ToDevice { user_id }
                | Fact::Signed { user_id }
                | Fact::Devices { user_id }
                | Fact::Supply { user_id, .. }
                | Fact::Subscription { user_id, .. }
                | Fact::Receipt { user_id, private: true, .. } => of_user(user_id).collect(),
                // It is for other servers.
                Fact::Owed { .. } => HashSet::new(),
                // Nothing of it is shown by /sync.
                Fact::Pushers { .. } => HashSet::new(),
            },
        };
        ids.into_iter().filter(|id| !self.reading.contains(id)).collect()
    }

    /// What is cancelled when somebody hears of news.
    pub(super) fn wake(&self, id: u64) -> Option<CancellationToken> {
        self.waiters.get(&id).map(|waiter| waiter.wake.clone())
    }

    pub(super) fn has_heard(&self, id: u64) -> bool {
        self.waiters
            .get(&id)
            .is_some_and(|waiter| waiter.wake.is_cancelled() || !waiter.heard.is_empty())
    }

    /// Takes what somebody has heard, who waits again from now on.
    pub(super) fn take(&mut self, id: u64) -> Heard {
        let Some(waiter) = self.waiters.get_mut(&id) else { return Heard::default() };
        waiter.wake = CancellationToken::new();
        let heard = std::mem::take(&mut waiter.heard);
        let waits_in =
            |room_id: &String| self.by_room.get(room_id).is_some_and(|ids| ids.contains(&id));
        // One's own receipts are told everywhere.
        let is_elsewhere = !heard.rooms.iter().all(waits_in);
        Heard { more: heard.more || is_elsewhere, ..heard }
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(waiter) = self.waiters.remove(&id) else { return };
        self.reading.remove(&id);
        forget(&mut self.by_user, &waiter.user_id, id);
        for room_id in waiter.rooms.iter() {
            forget(&mut self.by_room, room_id, id);
        }
    }
}

fn forget(index: &mut HashMap<String, HashSet<u64>>, key: &str, id: u64) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl Waiter {
    fn keep(&mut self, news: &News) {
        if self.kept.len() < KEPT {
            self.kept.push(news.clone());
        } else {
            self.heard.more = true;
            self.wake.cancel();
        }
    }
}

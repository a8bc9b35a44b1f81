//! Who waits for news, and waking exactly those whom a commit concerns.
//!
//! A waiting /sync registers *before* it reads, so nothing is lost between reading and waiting: what
//! was published meanwhile is kept for it and looked at when it says what it is interested in.
//! Nothing is handed over but the wake-up: who wakes reads the database again.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use ruma::{RoomId, UserId};
use starling_storage::{Fact, Positioned, Storage, memberships};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::measures::Counter;

/// How many pieces of news are kept for somebody who still reads; one who misses more is woken.
const KEPT: usize = 256;

/// Everybody who waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    waiting: Arc<Mutex<Waiting>>,
    /// Counts what happens that has no position.
    passing: watch::Sender<u64>,
    /// The position up to which everybody whom it concerns was woken.
    told: Arc<AtomicI64>,
    /// How often somebody was woken.
    woken: Arc<Counter>,
}

#[derive(Debug, Default)]
struct Waiting {
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
    wake: CancellationToken,
    /// What was published while the waiter reads.
    kept: Vec<News>,
}

#[derive(Clone, Debug)]
enum News {
    Fact(Positioned),
    Typing(String),
    /// Somebody's presence, in rooms.
    Presence(String, Vec<String>),
    /// A change of somebody's devices at a position, of which those in rooms are told.
    Devices(i64, String, Vec<String>),
    /// Something at a position that may concern anybody.
    Anything(i64),
}

impl Notifier {
    /// A notifier that hears the facts of a database until `shutdown`. Needs a Tokio runtime.
    #[must_use]
    pub fn start(storage: &Storage, shutdown: &CancellationToken) -> Self {
        let notifier = Self::default();
        let task = listen(notifier.clone(), storage.clone(), shutdown.clone());
        tokio::spawn(task);
        notifier
    }

    /// Announces that a user is about to read, and will wait if there is nothing new.
    #[must_use]
    pub fn register(&self, user_id: &UserId) -> Registration {
        let wake = CancellationToken::new();
        let mut waiting = self.lock();
        let id = waiting.next_id;
        waiting.next_id += 1;
        let waiter = Waiter {
            user_id: user_id.to_string(),
            rooms: Arc::default(),
            wake: wake.clone(),
            kept: Vec::new(),
        };
        waiting.by_user.entry(waiter.user_id.clone()).or_default().insert(id);
        waiting.waiters.insert(id, waiter);
        waiting.reading.insert(id);
        Registration { notifier: self.clone(), id, wake }
    }

    /// Wakes who waits in a room because its list of typing users changed.
    pub fn typing(&self, room_id: &RoomId) {
        self.publish(&News::Typing(room_id.to_string()));
        self.passing.send_modify(|count| *count += 1);
    }

    /// Wakes a user, and who waits in some rooms, because the user's presence changed.
    pub fn presence(&self, user_id: &UserId, rooms: Vec<String>) {
        self.publish(&News::Presence(user_id.to_string(), rooms));
        self.passing.send_modify(|count| *count += 1);
    }

    /// Changes whenever something happens that has no position: typing and presence.
    #[must_use]
    pub fn passing(&self) -> watch::Receiver<u64> {
        self.passing.subscribe()
    }

    /// The position up to which everybody whom it concerns was woken. What was committed since may
    /// still be on its way.
    #[must_use]
    pub fn told(&self) -> i64 {
        self.told.load(Ordering::Acquire)
    }

    /// How many read or wait now, those included whom the next request is to find as they are.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.lock().waiters.len()
    }

    /// How often somebody who waited was woken.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken.get()
    }

    fn publish(&self, news: &News) {
        let woken = self.lock().publish(news);
        self.woken.add(woken);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(notifier: Notifier, storage: Storage, shutdown: CancellationToken) {
    let mut listener = storage.feed().listen();
    loop {
        notifier.told.store(listener.heard(), Ordering::Release);
        let news = tokio::select! {
            () = shutdown.cancelled() => return,
            news = listener.next(storage.db()) => news,
        };
        match news {
            Ok(Some(facts)) => {
                for fact in facts.iter() {
                    let told = looked_up(&storage, fact).await;
                    notifier.publish(&told);
                }
            }
            Ok(None) => return,
            Err(error) => tracing::error!(%error, "missed facts could not be read"),
        }
    }
}

/// Whom a change of devices concerns, only the database knows.
async fn looked_up(storage: &Storage, fact: &Positioned) -> News {
    let Fact::Devices { user_id } = &fact.fact else { return News::Fact(fact.clone()) };
    let rooms = async {
        let mut conn = storage.read().await?;
        memberships::joined_rooms(&mut conn, user_id).await
    };
    match rooms.await {
        Ok(rooms) => News::Devices(fact.pos, user_id.clone(), rooms),
        Err(error) => {
            tracing::error!(%error, "those who share rooms with a user could not be read");
            News::Anything(fact.pos)
        }
    }
}

impl Waiting {
    /// How many were woken.
    fn publish(&mut self, news: &News) -> usize {
        let mut woken = 0;
        for id in self.concerned(news) {
            if let Some(waiter) = self.waiters.get(&id).filter(|it| !it.wake.is_cancelled()) {
                waiter.wake.cancel();
                woken += 1;
            }
        }
        for id in &self.reading {
            if let Some(waiter) = self.waiters.get_mut(id) {
                waiter.keep(news);
            }
        }
        woken
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

    fn remove(&mut self, id: u64) {
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
            self.wake.cancel();
        }
    }
}

/// Somebody who reads or waits. Dropping it ends that.
#[derive(Debug)]
pub struct Registration {
    notifier: Notifier,
    id: u64,
    /// Cancelled by news.
    wake: CancellationToken,
}

impl Registration {
    /// Begins to wait: everything up to `read_until` was read, and what happens in `rooms` (those
    /// that the user is joined to) is of interest, beside what concerns the user.
    pub fn begin(&self, rooms: Vec<String>, read_until: i64) {
        let mut waiting = self.notifier.lock();
        waiting.reading.remove(&self.id);
        for room_id in &rooms {
            waiting.by_room.entry(room_id.clone()).or_default().insert(self.id);
        }
        let Some(waiter) = waiting.waiters.get_mut(&self.id) else { return };
        waiter.rooms = Arc::new(rooms);
        let kept = std::mem::take(&mut waiter.kept);
        let unread = |news: &News| match news {
            News::Fact(fact) => fact.pos > read_until,
            News::Devices(pos, ..) | News::Anything(pos) => *pos > read_until,
            News::Typing(_) | News::Presence(..) => true,
        };
        let missed = |news: &News| unread(news) && waiting.concerned(news).contains(&self.id);
        if kept.iter().any(missed) {
            self.wake.cancel();
        }
    }

    /// Waits for news since the registration. Who wants to hear of more registers again.
    pub async fn woken(&self) {
        self.wake.cancelled().await;
    }

    /// Whether there were news since the registration.
    #[must_use]
    pub fn was_woken(&self) -> bool {
        self.wake.is_cancelled()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.notifier.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    fn fact(pos: i64, fact: Fact) -> News {
        News::Fact(Positioned { pos, fact })
    }

    fn event(pos: i64, room_id: &str, member: Option<&str>) -> News {
        let member = member.map(ToOwned::to_owned);
        let (room_id, event_id) = (room_id.to_owned(), "$e".to_owned());
        fact(pos, Fact::Event { room_id, event_id, local: true, member })
    }

    fn receipt(room_id: &str, user_id: &str, private: bool) -> News {
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        fact(9, Fact::Receipt { room_id, user_id, private })
    }

    #[test]
    fn only_what_concerns_a_user_wakes_them() {
        let notifier = Notifier::default();
        let me = "@a:x".to_owned();
        let (room_id, kind) = ("!s:x".to_owned(), "m.tag".to_owned());
        for (news, wakes) in [
            (event(6, "!r:x", None), true),
            (event(6, "!s:x", None), false),
            (event(6, "!s:x", Some("@a:x")), true),
            (event(6, "!s:x", Some("@b:x")), false),
            (fact(6, Fact::State { room_id: "!r:x".to_owned() }), true),
            (receipt("!r:x", "@b:x", false), true),
            (receipt("!r:x", "@b:x", true), false),
            (receipt("!r:x", "@a:x", true), true),
            (fact(6, Fact::Membership { user_id: me.clone(), room_id: room_id.clone() }), true),
            (fact(6, Fact::AccountData { user_id: me, room_id: room_id.clone(), kind }), true),
            (News::Devices(6, "@b:x".to_owned(), vec!["!s:x".to_owned()]), false),
            (News::Devices(6, "@b:x".to_owned(), vec!["!r:x".to_owned()]), true),
            (News::Devices(6, "@a:x".to_owned(), vec![]), true),
            (fact(6, Fact::ToDevice { user_id: "@a:x".to_owned() }), true),
            (fact(6, Fact::ToDevice { user_id: "@b:x".to_owned() }), false),
            (fact(6, Fact::Owed { server: "x".to_owned() }), false),
            (News::Anything(6), true),
            (News::Typing("!r:x".to_owned()), true),
            (News::Typing(room_id), false),
        ] {
            let waiter = notifier.register(user_id!("@a:x"));
            waiter.begin(vec!["!r:x".to_owned()], 5);
            notifier.publish(&news);
            assert_eq!(waiter.was_woken(), wakes, "{news:?}");
        }
    }

    #[test]
    fn what_happens_between_reading_and_waiting_is_not_lost() {
        let notifier = Notifier::default();
        let waiter = notifier.register(user_id!("@a:x"));
        notifier.publish(&event(6, "!r:x", None));
        assert!(!waiter.was_woken(), "it still reads");
        waiter.begin(vec!["!r:x".to_owned()], 5);
        assert!(waiter.was_woken());

        let waiter = notifier.register(user_id!("@a:x"));
        notifier.publish(&event(6, "!r:x", None));
        notifier.publish(&event(7, "!s:x", None));
        waiter.begin(vec!["!r:x".to_owned()], 6);
        assert!(
            !waiter.was_woken(),
            "it has read the first, and the second is none of its business"
        );
        notifier.typing(room_id!("!r:x"));
        assert!(waiter.was_woken());
    }

    #[test]
    fn who_misses_too_much_is_woken() {
        let notifier = Notifier::default();
        let waiter = notifier.register(user_id!("@a:x"));
        (0..=300).for_each(|pos| notifier.publish(&event(pos, "!s:x", None)));
        waiter.begin(vec![], 0);
        assert!(waiter.was_woken());
    }

    #[test]
    fn nothing_is_left_of_who_went_away() {
        let notifier = Notifier::default();
        let waiter = notifier.register(user_id!("@a:x"));
        waiter.begin(vec!["!r:x".to_owned()], 5);
        drop(waiter);
        let waiting = notifier.lock();
        assert!(waiting.waiters.is_empty() && waiting.reading.is_empty());
        assert!(waiting.by_room.is_empty() && waiting.by_user.is_empty());
    }
}

//! Who waits for news, and waking exactly those whom a commit concerns.
//!
//! A waiting /sync registers *before* it reads, so nothing is lost between reading and waiting: what
//! was published meanwhile is kept for it and looked at when it says what it is interested in. Who
//! wakes reads the database again, and is told how little of it is new ([`Heard`]).

mod registration;

#[cfg(test)]
mod tests;

mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruma::{RoomId, UserId};
use starling_storage::{Fact, Positioned, Storage, memberships};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::{registration::Registration, waiting::Heard};

use self::waiting::{News, Waiting};
use crate::measures::Counter;

/// Waits until a time. One that has come is not waited for: a timer would be up to a millisecond late, and wakes the
/// thread that waits for the network.
pub(crate) async fn until(time: Instant) {
    if Instant::now() < time {
        sleep_until(time).await;
    }
}

/// Everybody who waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    waiting: Arc<Mutex<Waiting>>,
    /// Counts what happens that has no position.
    passing: watch::Sender<u64>,
    /// The position up to which everybody whom it concerns has heard of it. Moves while `waiting` is locked.
    told: watch::Sender<i64>,
    /// How often somebody was woken.
    woken: Arc<Counter>,
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
        let id = self.lock().add(user_id);
        Registration::new(self.clone(), id)
    }

    /// Wakes who waits in a room because its list of typing users changed.
    pub fn typing(&self, room_id: &RoomId) {
        self.publish(&[News::Typing(room_id.to_string())], None);
        self.passing.send_modify(|count| *count += 1);
    }

    /// Wakes a user, and who waits in some rooms, because the user's presence changed.
    pub fn presence(&self, user_id: &UserId, rooms: Vec<String>) {
        self.publish(&[News::Presence(user_id.to_string(), rooms)], None);
        self.passing.send_modify(|count| *count += 1);
    }

    /// Changes whenever something happens that has no position: typing and presence.
    #[must_use]
    pub fn passing(&self) -> watch::Receiver<u64> {
        self.passing.subscribe()
    }

    /// The position up to which everybody whom it concerns has heard of it. What was committed since may
    /// still be on its way.
    #[must_use]
    pub fn told(&self) -> i64 {
        *self.told.borrow()
    }

    /// Follows [`Notifier::told`].
    #[must_use]
    pub fn telling(&self) -> watch::Receiver<i64> {
        self.told.subscribe()
    }

    /// How many read or wait now, those included whom the next request is to find as they are.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.lock().len()
    }

    /// How often somebody who waited was woken.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken.get()
    }

    /// Tells those whom news concern, which are all that there are up to a position.
    fn publish(&self, news: &[News], until: Option<i64>) {
        let mut waiting = self.lock();
        let wakes: Vec<CancellationToken> =
            news.iter().flat_map(|news| waiting.publish(news)).collect();
        if let Some(until) = until {
            self.told.send_replace(until);
        }
        drop(waiting);
        self.woken.add(wakes.len());
        // Who is woken finds the position moved.
        wakes.iter().for_each(CancellationToken::cancel);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(notifier: Notifier, storage: Storage, shutdown: CancellationToken) {
    let mut listener = storage.feed().listen();
    notifier.publish(&[], Some(listener.heard()));
    loop {
        let facts = tokio::select! {
            () = shutdown.cancelled() => return,
            facts = listener.next(storage.db()) => facts,
        };
        match facts {
            Ok(Some(facts)) => {
                let mut news = Vec::with_capacity(facts.len());
                for fact in facts.iter() {
                    news.push(looked_up(&storage, fact).await);
                }
                notifier.publish(&news, Some(listener.heard()));
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

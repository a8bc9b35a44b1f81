//! Publishing the facts of commits in the order of their positions, without gaps.

use std::sync::Arc;

use tokio::sync::{Mutex, broadcast, watch};

use crate::{
    db::{Db, Result},
    facts::{self, Positioned},
};

/// How many commits a slow listener may lag behind before it has to read from the table.
const CAPACITY: usize = 256;

/// How many facts are read from the table at a time.
const PAGE: i64 = 1000;

/// Where the facts of all commits come out, those of other processes included.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Held while publishing; the position up to which everything was published.
    published: Mutex<i64>,
    head: watch::Sender<i64>,
    commits: broadcast::Sender<Arc<Vec<Positioned>>>,
}

impl Feed {
    /// A feed that begins after position `head`.
    pub(crate) fn new(head: i64) -> Self {
        Self(Arc::new(Inner {
            published: Mutex::new(head),
            head: watch::Sender::new(head),
            commits: broadcast::Sender::new(CAPACITY),
        }))
    }

    /// The position up to which everything was published.
    #[must_use]
    pub fn head(&self) -> i64 {
        *self.0.head.borrow()
    }

    /// Follows [`Feed::head`].
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.0.head.subscribe()
    }

    /// Hears everything that is published from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let commits = self.0.commits.subscribe();
        Listener { commits, heard: self.head(), feed: self.clone() }
    }

    /// Publishes the facts of an own commit, after those that other processes committed before.
    pub(crate) async fn committed(&self, db: &Db, facts: Vec<Positioned>) {
        let mut published = self.0.published.lock().await;
        let Some(first) = facts.first().map(|f| f.pos) else { return };
        if let Err(error) = self.fill(db, &mut published, first - 1).await {
            // The poll of the counter will read what is missing, this commit included.
            tracing::error!(%error, "facts of other processes could not be read");
            return;
        }
        self.send(&mut published, facts);
    }

    /// Publishes what other processes committed up to now.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn poll(&self, db: &Db) -> Result<()> {
        let mut published = self.0.published.lock().await;
        let head = facts::head(&mut db.read().await?).await?;
        self.fill(db, &mut published, head).await
    }

    async fn fill(&self, db: &Db, published: &mut i64, until: i64) -> Result<()> {
        while *published < until {
            let mut conn = db.read().await?;
            let facts = facts::between(&mut conn, *published, until, PAGE).await?;
            if facts.is_empty() {
                break;
            }
            self.send(published, facts);
        }
        Ok(())
    }

    fn send(&self, published: &mut i64, facts: Vec<Positioned>) {
        let facts: Vec<_> = facts.into_iter().filter(|f| f.pos > *published).collect();
        let Some(last) = facts.last().map(|f| f.pos) else { return };
        *published = last;
        // Who hears a fact finds it at or below the head.
        self.0.head.send_replace(last);
        let _ = self.0.commits.send(Arc::new(facts));
    }
}

/// Hears each fact once, in order, also when it falls behind.
#[derive(Debug)]
pub struct Listener {
    commits: broadcast::Receiver<Arc<Vec<Positioned>>>,
    heard: i64,
    feed: Feed,
}

impl Listener {
    /// The position up to which this listener has heard everything.
    #[must_use]
    pub fn heard(&self) -> i64 {
        self.heard
    }

    /// Waits for the next facts; `None` when the storage was closed.
    ///
    /// # Errors
    ///
    /// When the database fails while it reads what it missed; calling again continues there.
    pub async fn next(&mut self, db: &Db) -> Result<Option<Arc<Vec<Positioned>>>> {
        loop {
            match self.commits.recv().await {
                Ok(facts) => {
                    if facts.first().is_some_and(|f| f.pos == self.heard + 1) {
                        self.heard = facts.last().map_or(self.heard, |f| f.pos);
                        return Ok(Some(facts));
                    }
                    if facts.last().is_some_and(|f| f.pos <= self.heard) {
                        continue;
                    }
                    return self.catch_up(db).await.map(Some);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return self.catch_up(db).await.map(Some);
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    async fn catch_up(&mut self, db: &Db) -> Result<Arc<Vec<Positioned>>> {
        let mut conn = db.read().await?;
        let facts = facts::between(&mut conn, self.heard, self.feed.head(), PAGE).await?;
        self.heard = facts.last().map_or(self.heard, |f| f.pos);
        Ok(Arc::new(facts))
    }
}

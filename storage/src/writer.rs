//! Group commit: the pending changes of all rooms and users in one transaction.
//!
//! A batch has four steps: claims (a change that loses one leaves before anything of it is written),
//! rows table by table, the counter of positions as the last thing that other writers wait for, and
//! the rows that carry positions. Then it is committed, its facts are published, and only then do
//! the callers learn of it.

mod claims;
mod rows;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use self::{
    claims::{claim, split_repeated_claims},
    rows::{raise, write_placed, write_rows},
};
use crate::{
    change::{At, Change},
    db::{Conn, Db, DbError, Result, sql},
    facts::Positioned,
    feed::Feed,
    measure::Entered,
    measures::Writing,
};

/// How many changes one transaction takes at most.
const LARGEST_BATCH: usize = 256;

/// How long it is waited at most for others who write at the same time.
const GATHERED_FOR: Duration = Duration::from_millis(2);

/// How long it is asked whether a commit happened whose answer was lost ...
const LOOKED_UP_FOR: Duration = Duration::from_secs(60);

/// ... and with which pauses.
const LOOKED_UP_EVERY: Duration = Duration::from_millis(100);

/// A change was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    base: i64,
}

impl Committed {
    /// The position of one of the change's facts.
    #[must_use]
    pub fn pos(&self, at: At) -> i64 {
        at.after(self.base)
    }
}

/// Why a change was not applied. Nothing of it was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The room moved on: load it again, authorise again, try again.
    #[error("the room changed meanwhile")]
    Conflict,
    /// The transaction id was used before, for this event.
    #[error("the transaction id was used before")]
    TransactionTaken(String),
    /// The user id, alias or room id is taken.
    #[error("the name is taken")]
    NameTaken,
    /// The registration token, password, log-in token, session, refresh token or attempt cannot be
    /// used (any more).
    #[error("it can be used no more")]
    UsedUp,
    /// The database failed.
    #[error("{0}")]
    Db(Arc<DbError>),
    /// The writer has stopped: the process is shutting down.
    #[error("the writer has stopped")]
    Stopped,
}

impl From<DbError> for CommitError {
    fn from(error: DbError) -> Self {
        Self::Db(Arc::new(error))
    }
}

/// A change with the caller who waits for its outcome.
pub(crate) struct Pending {
    pub(crate) change: Change,
    /// Until it is in a transaction.
    pub(crate) queued: Option<Entered>,
    /// What has to happen before anybody hears of the change.
    pub(crate) first: Option<First>,
    pub(crate) reply: oneshot::Sender<Result<Committed, CommitError>>,
}

/// What is done as soon as a change is on disk, on the writer's thread. It must not wait for anything.
pub(crate) type First = Box<dyn FnOnce() + Send + Sync>;

/// Applies changes until the queue is closed and empty.
pub(crate) struct Writer {
    pub(crate) db: Db,
    pub(crate) feed: Feed,
    pub(crate) instance: String,
    pub(crate) batch: i64,
}

impl Writer {
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Pending>) {
        let mut deferred = Vec::new();
        let mut expected = 1;
        loop {
            let mut pending = std::mem::take(&mut deferred);
            if pending.is_empty() && queue.recv_many(&mut pending, LARGEST_BATCH).await == 0 {
                return;
            }
            gather(&mut queue, &mut pending, expected).await;
            expected = pending.len();
            let mut batch;
            (batch, deferred) = split_repeated_claims(pending);
            batch.iter_mut().for_each(|pending| pending.queued = None);
            self.commit_or_split(batch).await;
        }
    }

    /// Commits the batch; when a statement fails, each half by itself, so that one bad change does
    /// not take the others with it. A database that is away takes all of them.
    async fn commit_or_split(&mut self, mut batch: Vec<Pending>) {
        while !batch.is_empty() {
            match self.attempt(&mut batch).await {
                Ok(Attempt::Committed(bases)) => {
                    self.measures().batch.size(batch.len());
                    self.measures().committed.add(batch.len());
                    // Whoever hears of a change must not find in a cache what was before it.
                    batch.iter_mut().filter_map(|pending| pending.first.take()).for_each(|it| it());
                    self.publish(&batch, &bases).await;
                    for (pending, base) in batch.into_iter().zip(bases) {
                        let _ = pending.reply.send(Ok(Committed { base }));
                    }
                    return;
                }
                Ok(Attempt::Lost(index, error)) => {
                    match error {
                        CommitError::Conflict => self.measures().conflicts.count(),
                        _ => self.measures().taken.count(),
                    }
                    let _ = batch.remove(index).reply.send(Err(error));
                }
                Err(error) if batch.len() == 1 || error.is_passing() => {
                    tracing::error!(%error, changes = batch.len(), "nothing could be written");
                    self.measures().failed.add(batch.len());
                    let error = CommitError::from(error);
                    for pending in batch {
                        let _ = pending.reply.send(Err(error.clone()));
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, changes = batch.len(), "a batch failed, splitting it");
                    let half = batch.split_off(batch.len() / 2);
                    Box::pin(self.commit_or_split(batch)).await;
                    batch = half;
                }
            }
        }
    }

    fn measures(&self) -> &Writing {
        &self.db.measures().writer
    }

    async fn publish(&self, batch: &[Pending], bases: &[i64]) {
        let mut facts = Vec::new();
        for (pending, base) in batch.iter().zip(bases) {
            let placed = pending.change.facts.iter().enumerate();
            facts.extend(placed.map(|(index, fact)| Positioned {
                pos: At(index).after(*base),
                fact: fact.clone(),
            }));
        }
        if !facts.is_empty() {
            self.feed.committed(&self.db, facts).await;
        }
    }

    /// Runs the transaction. Rolled back unless it ends as `Committed`. The rows of a change that is alone
    /// are taken out of it: there is no second attempt.
    async fn attempt(&mut self, batch: &mut [Pending]) -> Result<Attempt> {
        let begun = Instant::now();
        let mut conn = self.db.write().await?;
        for (index, pending) in in_room_order(batch) {
            if let Some(lost) = claim(&mut conn, &pending.change).await? {
                return Ok(Attempt::Lost(index, lost));
            }
        }
        let placed = write_rows(&mut conn, batch).await?;
        self.batch += 1;
        let bases = self.raise_counter(&mut conn, batch).await?;
        write_placed(&mut conn, placed, batch, &bases).await?;
        let written = Instant::now();
        match conn.commit().await {
            Ok(()) => {
                self.measures().commit.took(written.elapsed());
                let took = begun.elapsed();
                self.measures().transaction.took(took);
                self.db.measures().slow.transaction(took, batch.len());
                Ok(Attempt::Committed(bases))
            }
            Err(error) => self.look_up(error, bases).await,
        }
    }

    /// Takes as many positions as the batch has facts; returns the position before those of each
    /// change. From here to the commit every other writer waits.
    async fn raise_counter(&self, conn: &mut Conn, batch: &[Pending]) -> Result<Vec<i64>> {
        let count: usize = batch.iter().map(|p| p.change.facts.len()).sum();
        let head = if count == 0 {
            0
        } else {
            raise(conn, "stream", i64::try_from(count).unwrap_or(i64::MAX)).await?
        };
        let mut base = head - i64::try_from(count).unwrap_or(0);
        if !self.db.is_sqlite() {
            note_batch(conn, &self.instance, self.batch, base).await?;
        }
        let mut bases = Vec::with_capacity(batch.len());
        for pending in batch {
            bases.push(base);
            base += i64::try_from(pending.change.facts.len()).unwrap_or(0);
        }
        Ok(bases)
    }

    /// A COMMIT whose answer was lost: did it happen? Looked up, never guessed; while the database is away,
    /// everybody waits.
    async fn look_up(&self, error: DbError, bases: Vec<i64>) -> Result<Attempt> {
        if self.db.is_sqlite() {
            return Err(error);
        }
        let until = Instant::now() + LOOKED_UP_FOR;
        loop {
            match self.newest_batch().await {
                Ok(newest) if newest == Some(self.batch) => return Ok(Attempt::Committed(bases)),
                Ok(_) => return Err(error),
                Err(away) if away.is_passing() && Instant::now() < until => {
                    tracing::warn!(%away, "it is not known yet whether a commit happened");
                    sleep(LOOKED_UP_EVERY).await;
                }
                Err(away) => return Err(away),
            }
        }
    }

    async fn newest_batch(&self) -> Result<Option<i64>> {
        let mut conn = self.db.read().await?;
        let row = sql("SELECT batch FROM batches WHERE instance = $1")
            .bind(&self.instance)
            .optional(&mut conn)
            .await?;
        row.map(|row| row.get(0)).transpose()
    }
}

/// Waits for as many changes as were written together the last time: whoever was answered then may be about
/// to send the next. One who is alone is never waited for.
async fn gather(queue: &mut mpsc::Receiver<Pending>, pending: &mut Vec<Pending>, expected: usize) {
    let more = async {
        while pending.len() < expected.min(LARGEST_BATCH) {
            let room = LARGEST_BATCH - pending.len();
            if queue.recv_many(pending, room).await == 0 {
                return;
            }
        }
    };
    // Whatever came in time is in `pending` then.
    let _ = timeout(GATHERED_FOR, more).await;
}

enum Attempt {
    /// The position before the facts of each change.
    Committed(Vec<i64>),
    /// The change at this index lost a claim; nothing was written.
    Lost(usize, CommitError),
}

/// Writers that lock rooms in the same order do not wait for each other in a circle.
fn in_room_order(batch: &[Pending]) -> Vec<(usize, &Pending)> {
    let mut order: Vec<_> = batch.iter().enumerate().collect();
    order.sort_by_key(|(_, p)| p.change.rooms.first().map(|room| room.room_id.clone()));
    order
}

async fn note_batch(conn: &mut Conn, instance: &str, batch: i64, base: i64) -> Result<()> {
    sql("INSERT INTO batches (instance, batch, base) VALUES ($1, $2, $3) \
         ON CONFLICT (instance) DO UPDATE SET batch = excluded.batch, base = excluded.base")
    .bind(instance)
    .bind(batch)
    .bind(base)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;
    use crate::test_support::TempDatabase;

    #[tokio::test]
    async fn a_change_is_queued_until_it_is_in_a_transaction() {
        let temp = TempDatabase::sqlite().unwrap();
        let storage = temp.open().await.unwrap();
        let queued = &storage.measures().writer.queued;
        let held_up = storage.db().write().await.unwrap();
        let first = storage.submit(Change::new()).await.unwrap();
        while queued.get() > 0 {
            yield_now().await;
        }
        let second = storage.submit(Change::new()).await.unwrap();
        assert_eq!(queued.get(), 1);
        drop(held_up);
        first.outcome().await.unwrap();
        second.outcome().await.unwrap();
        assert_eq!(queued.get(), 0);
        storage.close().await;
        temp.remove().await.unwrap();
    }
}

//! The database of a deployment, opened: reads by connections, writes through the writer.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    alone::Alone,
    change::Change,
    checkpoints::Checkpoints,
    db::{Conn, Db, DbError, Result, sql},
    facts,
    feed::Feed,
    measures::Measures,
    migrations,
    writer::{CommitError, Committed, First, Pending, Writer},
};

/// How many changes may wait for the writer before their callers wait to hand them over.
const QUEUE: usize = 1024;

/// How often the counter is looked at for what other processes committed.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Connections for reading (SQLite) or in all (PostgreSQL).
    pub max_connections: u32,
    /// A name for this start of this process that no other has.
    pub instance: String,
    /// Refuses a PostgreSQL database on which another process works. A SQLite file is never shared.
    pub alone: bool,
}

/// A change that was handed to the writer. It is applied also when nobody waits for it.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Committed, CommitError>>);

impl Submitted {
    /// Waits for what becomes of it.
    ///
    /// # Errors
    ///
    /// As [`Storage::commit`].
    pub async fn outcome(self) -> Result<Committed, CommitError> {
        self.0.await.unwrap_or(Err(CommitError::Stopped))
    }
}

/// An opened database.
#[derive(Clone, Debug)]
pub struct Storage {
    db: Db,
    checkpoints: Option<Checkpoints>,
    feed: Feed,
    queue: Arc<Mutex<Option<mpsc::Sender<Pending>>>>,
    submit: mpsc::WeakSender<Pending>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    writer: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
    alone: Arc<Mutex<Option<Alone>>>,
}

impl Storage {
    /// Opens and migrates a database, and starts its writer.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, is held by another process, or is of a newer version.
    pub async fn open(options: Options) -> Result<Self> {
        let sqlite = options.url.starts_with("sqlite:");
        let alone = match sqlite || options.alone {
            true => Some(Alone::take(&options.url).await?),
            false => None,
        };
        let db = Db::open(&options.url, options.max_connections).await?;
        migrations::run(&db).await?;
        let head = facts::head(&mut db.read().await?).await?;
        let feed = Feed::new(head);
        let (queue, pending) = mpsc::channel(QUEUE);
        let writer =
            Writer { db: db.clone(), feed: feed.clone(), instance: options.instance, batch: 0 };
        let writer = on_a_thread(writer.run(pending))?;
        let checkpoints = Checkpoints::of(&db)?;
        let background = match &checkpoints {
            Some(checkpoints) => tokio::spawn(checkpoints.clone().run()),
            None => tokio::spawn(polls(db.clone(), feed.clone())),
        };
        Ok(Self {
            db,
            checkpoints,
            feed,
            submit: queue.downgrade(),
            queue: Arc::new(Mutex::new(Some(queue))),
            tasks: Arc::new(Mutex::new(vec![background])),
            writer: Arc::new(Mutex::new(Some(writer))),
            alone: Arc::new(Mutex::new(alone)),
        })
    }

    /// The pools.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// What is measured of the database and its writer.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        self.db.measures()
    }

    /// Where facts are published.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// A connection for single statements.
    ///
    /// # Errors
    ///
    /// When no connection becomes free in time.
    pub async fn read(&self) -> Result<Conn> {
        self.db.read().await
    }

    /// A connection whose statements all see one moment. Never held while waiting for anything but
    /// the database.
    ///
    /// # Errors
    ///
    /// When no connection becomes free in time.
    pub async fn snapshot(&self) -> Result<Conn> {
        self.db.snapshot().await
    }

    /// Applies a change, wholly or not at all. When this returns `Ok`, it is on disk and published.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing was written then, except that after [`CommitError::Db`] of an
    /// interrupted commit the outcome could not be looked up.
    pub async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        self.submit(change).await?.outcome().await
    }

    /// Hands a change to the writer. Changes of one room are applied in the order in which they are handed
    /// over.
    ///
    /// # Errors
    ///
    /// [`CommitError::Stopped`].
    pub async fn submit(&self, change: Change) -> Result<Submitted, CommitError> {
        self.hand_over(change, None).await
    }

    /// As [`Storage::submit`]. When the change is on disk, and before anybody hears of its facts, `first` is
    /// called, on the writer's thread: it tells the caches what they hold no more. It is not called when
    /// nothing was written.
    ///
    /// # Errors
    ///
    /// [`CommitError::Stopped`].
    pub async fn submit_and(
        &self,
        change: Change,
        first: impl FnOnce() + Send + Sync + 'static,
    ) -> Result<Submitted, CommitError> {
        self.hand_over(change, Some(Box::new(first))).await
    }

    async fn hand_over(
        &self,
        change: Change,
        first: Option<First>,
    ) -> Result<Submitted, CommitError> {
        let (reply, outcome) = oneshot::channel();
        let queue = self.submit.upgrade().ok_or(CommitError::Stopped)?;
        let queued = Some(self.measures().writer.queued.enter());
        let pending = Pending { change, queued, first, reply };
        queue.send(pending).await.map_err(|_| CommitError::Stopped)?;
        Ok(Submitted(outcome))
    }

    /// A value of the deployment's own, made once: stored as `value` if `key` has none, and the
    /// stored one is returned.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn meta(&self, key: &str, value: &str) -> Result<String> {
        let mut conn = self.db.write().await?;
        sql("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(key)
            .bind(value)
            .execute(&mut conn)
            .await?;
        let row =
            sql("SELECT value FROM meta WHERE key = $1").bind(key).optional(&mut conn).await?;
        let stored = row.map_or(Ok(value.to_owned()), |row| row.get(0))?;
        conn.commit().await?;
        Ok(stored)
    }

    /// Applies what is queued, stops the writer and closes the database; another process, or this
    /// one, may open it then.
    pub async fn close(&self) {
        drop(self.queue.lock().await.take());
        if let Some(writer) = self.writer.lock().await.take() {
            let _ = writer.await;
        }
        for task in self.tasks.lock().await.drain(..) {
            task.abort();
            let _ = task.await;
        }
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.close().await;
        }
        self.db.close().await;
        if let Some(alone) = self.alone.lock().await.take() {
            alone.end().await;
        }
    }
}

/// Runs the writer on a thread of its own: its commits wait for the disk. What is returned is dropped or
/// sent to when it has ended.
fn on_a_thread(writer: impl Future<Output = ()> + Send + 'static) -> Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        runtime.block_on(writer);
        let _ = end.send(());
    };
    let thread = thread::Builder::new().name("writer".to_owned()).spawn(work);
    thread.map_err(|error| DbError::Unavailable(format!("no thread for the writer: {error}")))?;
    Ok(ended)
}

async fn polls(db: Db, feed: Feed) {
    let mut ticks = tokio::time::interval(POLL_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = feed.poll(&db).await {
            tracing::warn!(%error, "the counter of positions could not be read");
        }
    }
}

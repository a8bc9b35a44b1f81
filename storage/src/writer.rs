//! Group commit: the pending changes of all rooms and users in one transaction.
//!
//! A batch has four steps: claims (a change that loses one leaves before anything of it is written),
//! rows table by table, the counter of positions as the last thing that other writers wait for, and
//! the rows that carry positions. Then it is committed, its facts are published, and only then do
//! the callers learn of it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::{
    account_data,
    accounts::{self, Once},
    admin, appservices, backups, bulk,
    change::{At, Change, Claim, Write},
    db::{Conn, Db, DbError, Result, Value, sql},
    delayed_events, encryption, events,
    facts::{Fact, Positioned},
    federation,
    feed::Feed,
    media, memberships, pushers, receipts, rooms, search, sliding, state, subscriptions, timeline,
    to_device, unread, user_directory,
};

/// How many changes one transaction takes at most.
const LARGEST_BATCH: usize = 256;

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
    TransactionTaken(Box<events::ClientTransaction>),
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
    pub(crate) reply: oneshot::Sender<Result<Committed, CommitError>>,
}

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
        loop {
            let mut pending = std::mem::take(&mut deferred);
            if pending.is_empty() && queue.recv_many(&mut pending, LARGEST_BATCH).await == 0 {
                return;
            }
            let batch;
            (batch, deferred) = split_repeated_claims(pending);
            self.commit_or_split(batch).await;
        }
    }

    /// Commits the batch; when a statement fails, each half by itself, so that one bad change does
    /// not take the others with it. A database that is away takes all of them.
    async fn commit_or_split(&mut self, mut batch: Vec<Pending>) {
        while !batch.is_empty() {
            match self.attempt(&batch).await {
                Ok(Attempt::Committed(bases)) => {
                    self.publish(&batch, &bases).await;
                    for (pending, base) in batch.into_iter().zip(bases) {
                        let _ = pending.reply.send(Ok(Committed { base }));
                    }
                    return;
                }
                Ok(Attempt::Lost(index, error)) => {
                    let _ = batch.remove(index).reply.send(Err(error));
                }
                Err(error) if batch.len() == 1 || error.is_passing() => {
                    tracing::error!(%error, changes = batch.len(), "nothing could be written");
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

    /// Runs the transaction. Rolled back unless it ends as `Committed`.
    async fn attempt(&mut self, batch: &[Pending]) -> Result<Attempt> {
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
        match conn.commit().await {
            Ok(()) => Ok(Attempt::Committed(bases)),
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

enum Attempt {
    /// The position before the facts of each change.
    Committed(Vec<i64>),
    /// The change at this index lost a claim; nothing was written.
    Lost(usize, CommitError),
}

/// Leaves out of a batch what claims the same name as an earlier change of it: who loses against a
/// change that is not committed would be told of something that may never be.
fn split_repeated_claims(pending: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
    let mut seen = HashSet::new();
    pending.into_iter().partition(|p| {
        let keys: Vec<String> = p.change.claims.iter().map(claim_key).collect();
        let free = keys.iter().all(|key| !seen.contains(key));
        if free {
            seen.extend(keys);
        }
        free
    })
}

fn claim_key(claim: &Claim) -> String {
    match claim {
        Claim::Transaction(t) => {
            format!("t\0{}\0{}\0{}\0{}", t.user_id, t.device_id, t.path, t.txn_id)
        }
        Claim::NewUser(user) => format!("u\0{}", user.user_id),
        Claim::Guest { user_id, .. } => format!("u\0{user_id}"),
        Claim::Threepid(row) => format!("3\0{}\0{}", row.medium, row.address),
        Claim::EmailAttempt { row, .. } => {
            format!("m\0{}\0{}\0{:?}", row.address, row.purpose, row.secret_hash)
        }
        Claim::NewAlias(alias) => format!("a\0{}", alias.alias),
        Claim::NewRoom(room) => format!("r\0{}", room.room_id),
        Claim::NewRegistrationToken(row) => format!("g\0{}", row.token),
        Claim::RegistrationToken { token, .. } => format!("g\0{token}"),
        Claim::Password { user_id, .. } => format!("p\0{user_id}"),
        Claim::Once(once) => format!("o\0{once:?}"),
        // Whoever takes the session claims it by the same name.
        Claim::Uia(p) => format!("o\0{:?}", Once::UiaSession(p.row.session_id.clone())),
        Claim::AccountData(e) => format!("d\0{}\0{}\0{}", e.user_id, e.room_id, e.kind),
        Claim::Attempt(attempt) => format!("c\0{}\0{}", attempt.bucket, attempt.key),
        Claim::Rotate(rotation) => format!("f\0{:?}", rotation.token_hash),
        Claim::OneTimeKey(k) => {
            format!("k\0{}\0{}\0{}\0{}", k.user_id, k.device_id, k.algorithm, k.key_id)
        }
        Claim::NewBackup(row) => format!("b\0{}", row.user_id),
        Claim::NewestBackup { user_id, .. } => format!("b\0{user_id}"),
        Claim::ToDevice(r) => format!("e\0{}\0{}", r.origin, r.message_id),
        Claim::MediaPromise(kept) => format!("b\0{}\0{}", kept.origin, kept.media_id),
    }
}

/// Writers that lock rooms in the same order do not wait for each other in a circle.
fn in_room_order(batch: &[Pending]) -> Vec<(usize, &Pending)> {
    let mut order: Vec<_> = batch.iter().enumerate().collect();
    order.sort_by_key(|(_, p)| p.change.rooms.first().map(|room| room.room_id.clone()));
    order
}

async fn claim(conn: &mut Conn, change: &Change) -> Result<Option<CommitError>> {
    for claim in &change.claims {
        let (won, lost) = match claim {
            Claim::Transaction(txn) => match events::claim_transaction(conn, txn).await? {
                Some(winner) => return Ok(Some(CommitError::TransactionTaken(Box::new(winner)))),
                None => continue,
            },
            Claim::NewUser(user) => {
                (accounts::claim_user(conn, user).await?, CommitError::NameTaken)
            }
            Claim::Guest { user_id, password_hash } => (
                accounts::claim_guest(conn, user_id, password_hash.clone()).await?,
                CommitError::UsedUp,
            ),
            Claim::Threepid(row) => {
                (accounts::threepids::claim(conn, row).await?, CommitError::UsedUp)
            }
            Claim::EmailAttempt { row, expired } => {
                (accounts::email_sessions::claim(conn, row, *expired).await?, CommitError::UsedUp)
            }
            Claim::NewAlias(alias) => {
                (rooms::claim_alias(conn, alias).await?, CommitError::NameTaken)
            }
            Claim::NewRoom(room) => (rooms::claim_new(conn, room).await?, CommitError::NameTaken),
            Claim::NewRegistrationToken(row) => {
                (accounts::registration_tokens::claim_new(conn, row).await?, CommitError::NameTaken)
            }
            Claim::RegistrationToken { token, now_ts } => (
                accounts::registration_tokens::claim(conn, token, *now_ts).await?,
                CommitError::UsedUp,
            ),
            Claim::Password { user_id, hash } => {
                let hash = hash.as_deref();
                (accounts::claim_password(conn, user_id, hash).await?, CommitError::UsedUp)
            }
            Claim::Once(once) => (accounts::claim_once(conn, once).await?, CommitError::UsedUp),
            Claim::Uia(progress) => {
                (accounts::uia::claim(conn, progress).await?, CommitError::UsedUp)
            }
            Claim::AccountData(expected) => {
                (account_data::claim(conn, expected).await?, CommitError::Conflict)
            }
            Claim::Attempt(attempt) => {
                (accounts::attempts::claim(conn, attempt).await?, CommitError::UsedUp)
            }
            Claim::MediaPromise(kept) => (media::claim(conn, kept).await?, CommitError::UsedUp),
            Claim::Rotate(rotation) => {
                (accounts::tokens::claim_rotation(conn, rotation).await?, CommitError::UsedUp)
            }
            Claim::OneTimeKey(key) => {
                (encryption::one_time_keys::claim(conn, key).await?, CommitError::UsedUp)
            }
            Claim::NewBackup(row) => (backups::claim_new(conn, row).await?, CommitError::UsedUp),
            Claim::NewestBackup { user_id, version } => {
                (backups::claim_newest(conn, user_id, *version).await?, CommitError::UsedUp)
            }
            Claim::ToDevice(received) => {
                (to_device::claim(conn, received).await?, CommitError::UsedUp)
            }
        };
        if !won {
            return Ok(Some(lost));
        }
    }
    for room in &change.rooms {
        if !rooms::compare_and_raise(conn, &room.room_id, room.expected).await? {
            return Ok(Some(CommitError::Conflict));
        }
    }
    Ok(None)
}

/// Rows that carry a position, each with the index of its change.
#[derive(Default)]
struct Placed {
    timeline: Vec<(usize, timeline::Write)>,
    unread: Vec<(usize, unread::Write)>,
    memberships: Vec<(usize, memberships::Write)>,
    rooms: Vec<(usize, rooms::Write)>,
    states: Vec<(usize, state::Write)>,
    account_data: Vec<(usize, account_data::Write)>,
    receipts: Vec<(usize, receipts::Write)>,
    lists: Vec<(usize, encryption::lists::Write)>,
    to_device: Vec<(usize, to_device::Write)>,
    subscriptions: Vec<(usize, subscriptions::Write)>,
}

/// Writes the rows that need no position, in a fixed order of tables, and returns the others.
async fn write_rows(conn: &mut Conn, batch: &[Pending]) -> Result<Placed> {
    let mut placed = Placed::default();
    let (mut event_rows, mut state_rows, mut room_rows) = (vec![], vec![], vec![]);
    let (mut account_rows, mut federation_rows) = (vec![], vec![]);
    let (mut search_rows, mut admin_rows, mut directory_rows) = (vec![], vec![], vec![]);
    let (mut encryption_rows, mut backup_rows) = (vec![], vec![]);
    let mut media_rows = vec![];
    let mut delayed_rows = vec![];
    let mut appservice_rows = vec![];
    let mut pusher_rows = vec![];
    let mut sliding_rows = vec![];
    for (index, pending) in batch.iter().enumerate() {
        for row in pending.change.writes.iter().cloned() {
            match row {
                Write::Event(row) => event_rows.push(row),
                Write::State(row @ state::Write::Root { .. }) => placed.states.push((index, row)),
                Write::State(row) => state_rows.push(row),
                Write::Room(row @ (rooms::Write::Server(_) | rooms::Write::Partial(_))) => {
                    placed.rooms.push((index, row));
                }
                Write::Room(row) => room_rows.push(row),
                Write::Account(row) => account_rows.push(row),
                Write::Federation(row) => federation_rows.push(row),
                Write::Search(row) => search_rows.push(row),
                Write::Admin(row) => admin_rows.push(row),
                Write::UserDirectory(row) => directory_rows.push(row),
                Write::Media(row) => media_rows.push(row),
                Write::DelayedEvent(row) => delayed_rows.push(row),
                Write::Appservice(row) => appservice_rows.push(row),
                Write::Pusher(row) => pusher_rows.push(row),
                Write::Sliding(row) => sliding_rows.push(row),
                Write::Timeline(row) => placed.timeline.push((index, row)),
                Write::Unread(row) => placed.unread.push((index, row)),
                Write::Membership(row) => placed.memberships.push((index, row)),
                Write::AccountData(row) => placed.account_data.push((index, row)),
                Write::Receipt(row) => placed.receipts.push((index, row)),
                Write::Encryption(encryption::Write::Lists(row)) => placed.lists.push((index, row)),
                Write::Encryption(row) => encryption_rows.push(row),
                Write::Backup(row) => backup_rows.push(row),
                Write::ToDevice(row) => placed.to_device.push((index, row)),
                Write::Subscription(row) => placed.subscriptions.push((index, row)),
            }
        }
    }
    accounts::apply(conn, account_rows).await?;
    events::apply(conn, event_rows).await?;
    state::apply(conn, state_rows).await?;
    rooms::apply(conn, room_rows).await?;
    federation::apply(conn, federation_rows).await?;
    search::apply(conn, search_rows).await?;
    admin::apply(conn, admin_rows).await?;
    user_directory::apply(conn, directory_rows).await?;
    encryption::apply(conn, encryption_rows).await?;
    backups::apply(conn, backup_rows).await?;
    media::apply(conn, media_rows).await?;
    delayed_events::apply(conn, delayed_rows).await?;
    appservices::apply(conn, appservice_rows).await?;
    pushers::apply(conn, pusher_rows).await?;
    sliding::apply(conn, sliding_rows).await?;
    Ok(placed)
}

async fn write_placed(
    conn: &mut Conn,
    placed: Placed,
    batch: &[Pending],
    bases: &[i64],
) -> Result<()> {
    put_positions(conn, batch, bases).await?;
    let timeline_rows = with_base(placed.timeline, bases);
    let history =
        timeline_rows.iter().filter(|(_, w)| matches!(w, timeline::Write::Backfill(_))).count();
    let mut backfill = 0;
    if history > 0 {
        let history = i64::try_from(history).unwrap_or(i64::MAX);
        backfill = raise(conn, "backfill", -history).await? + history - 1;
    }
    timeline::apply(conn, timeline_rows, &mut backfill).await?;
    memberships::apply(conn, with_base(placed.memberships, bases)).await?;
    rooms::apply_placed(conn, with_base(placed.rooms, bases)).await?;
    state::apply_placed(conn, with_base(placed.states, bases)).await?;
    account_data::apply(conn, with_base(placed.account_data, bases)).await?;
    receipts::apply(conn, with_base(placed.receipts, bases)).await?;
    to_device::apply(conn, with_base(placed.to_device, bases)).await?;
    encryption::lists::advance(conn, facts_of(batch, bases)).await?;
    encryption::lists::apply(conn, with_base(placed.lists, bases)).await?;
    subscriptions::apply(conn, with_base(placed.subscriptions, bases)).await?;
    // Last: it asks the memberships and account data of this batch too.
    unread::apply(conn, with_base(placed.unread, bases)).await
}

fn with_base<T>(rows: Vec<(usize, T)>, bases: &[i64]) -> Vec<(i64, T)> {
    rows.into_iter()
        .map(|(index, row)| (bases.get(index).copied().unwrap_or_default(), row))
        .collect()
}

async fn put_positions(conn: &mut Conn, batch: &[Pending], bases: &[i64]) -> Result<()> {
    let facts = facts_of(batch, bases).map(|(pos, fact)| position_row(pos, fact));
    bulk::insert(
        conn,
        "INSERT INTO positions (pos, kind, subject, object, detail)",
        "",
        facts.collect(),
    )
    .await
}

/// The facts of a batch with their positions.
fn facts_of<'a>(batch: &'a [Pending], bases: &'a [i64]) -> impl Iterator<Item = (i64, &'a Fact)> {
    batch.iter().zip(bases).flat_map(|(pending, base)| {
        let facts = pending.change.facts.iter().enumerate();
        facts.map(|(index, fact)| (At(index).after(*base), fact))
    })
}

fn position_row(pos: i64, fact: &Fact) -> Vec<Value> {
    let (kind, subject, object, detail) = fact.columns();
    vec![pos.into(), kind.into(), subject.into(), object.into(), detail.into()]
}

async fn raise(conn: &mut Conn, counter: &'static str, by: i64) -> Result<i64> {
    let row = sql("UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value")
        .bind(counter)
        .bind(by)
        .optional(conn)
        .await?;
    row.ok_or_else(|| DbError::Corrupt(format!("counter {counter} is missing")))?.get(0)
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

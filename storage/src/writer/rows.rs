//! Rows: table by table, several to a statement; those with a position at last.

use super::Pending;
use crate::{
    account_data, accounts, admin, appservices, backups, bulk,
    change::{At, Write},
    db::{Conn, DbError, Result, Value, sql},
    delayed_events, encryption, events,
    facts::Fact,
    federation, media, memberships, pushers, receipts, rooms, search, sliding, state,
    subscriptions, timeline, to_device, unread, user_directory,
};

/// Rows that carry a position, each with the index of its change.
#[derive(Default)]
pub(super) struct Placed {
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
pub(super) async fn write_rows(conn: &mut Conn, batch: &mut [Pending]) -> Result<Placed> {
    let alone = batch.len() == 1;
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
    for (index, pending) in batch.iter_mut().enumerate() {
        let writes = &mut pending.change.writes;
        let rows = if alone { std::mem::take(writes) } else { writes.clone() };
        for row in rows.into_iter().flatten() {
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

/// Writes the rows that carry a position, now that it is known.
pub(super) async fn write_placed(
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
        facts.collect::<Vec<_>>(),
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

/// Raises a counter, and gives back its new value.
pub(super) async fn raise(conn: &mut Conn, counter: &'static str, by: i64) -> Result<i64> {
    let row = sql("UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value")
        .bind(counter)
        .bind(by)
        .optional(conn)
        .await?;
    row.ok_or_else(|| DbError::Corrupt(format!("counter {counter} is missing")))?.get(0)
}

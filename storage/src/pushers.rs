//! How users want to be told of what notifies them, and how far they have been.

use std::{collections::BTreeMap, mem};

use crate::{
    bulk,
    db::{Conn, Result, Row, composed, sql},
};

/// What names a pusher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PusherKey {
    /// Whose it is.
    pub user_id: String,
    /// The application.
    pub app_id: String,
    /// Where the application is to be found, as the gateway knows it.
    pub pushkey: String,
}

/// A pusher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PusherRow {
    /// Its name.
    pub key: PusherKey,
    /// `http` or `email`.
    pub kind: String,
    /// What to call the application.
    pub app_display_name: String,
    /// What to call the device.
    pub device_display_name: String,
    /// Which set of rules it is for.
    pub profile_tag: Option<String>,
    /// The language of the user.
    pub lang: String,
    /// JSON: what the client wrote for the gateway.
    pub data: String,
    /// Whether anything is told at all.
    pub enabled: bool,
    /// The device that set it, with which it goes; empty when it has none, or writes letters.
    pub device_id: String,
    /// When it was set last.
    pub set_ts: i64,
    /// What the link of letters has by which there are no more.
    pub unsubscribe: Option<String>,
    /// How far it has been told.
    pub progress: Progress,
}

/// How far a pusher has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here was told, or is not to be.
    pub cursor_pos: i64,
    /// The number of unread messages that was told last, or was known when it was made.
    pub badge: i64,
    /// How often in a row telling failed.
    pub failures: i64,
    /// When to try again, or when the next letter may be written.
    pub retry_ts: i64,
    /// How many letters in a row were not heeded.
    pub letters: i64,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets a pusher. One that was told already goes on where it is.
    Put(Box<PusherRow>),
    /// Removes the pushers of that application and place of everybody but the user.
    RemoveOfOthers(PusherKey),
    /// Removes a pusher.
    Remove(PusherKey),
    /// A pusher was told something, or did not take it. It is not made by that, and never goes back.
    Progress(PusherKey, Progress),
}

/// Writes the rows of a batch in their order; what pushers were told by few statements, as one message tells
/// many of them something.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    let mut told = BTreeMap::new();
    for row in rows {
        if !matches!(row, Write::Progress(..)) {
            put_progress(conn, mem::take(&mut told)).await?;
        }
        let statement = match row {
            Write::Progress(key, progress) => {
                told.insert(key, progress);
                continue;
            }
            Write::Put(row) => {
                put(conn, *row).await?;
                continue;
            }
            Write::RemoveOfOthers(key) => {
                sql("DELETE FROM pushers WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3")
                    .bind(key.app_id)
                    .bind(key.pushkey)
                    .bind(key.user_id)
            }
            Write::Remove(key) => {
                sql("DELETE FROM pushers WHERE app_id = $1 AND pushkey = $2 AND user_id = $3")
                    .bind(key.app_id)
                    .bind(key.pushkey)
                    .bind(key.user_id)
            }
        };
        statement.execute(conn).await?;
    }
    put_progress(conn, told).await
}

async fn put_progress(conn: &mut Conn, told: BTreeMap<PusherKey, Progress>) -> Result<()> {
    let values = told.into_iter().map(|(key, progress)| {
        vec![
            key.app_id.into(),
            key.pushkey.into(),
            key.user_id.into(),
            progress.cursor_pos.into(),
            progress.badge.into(),
            progress.failures.into(),
            progress.retry_ts.into(),
            progress.letters.into(),
        ]
    });
    bulk::insert(
        conn,
        "UPDATE pushers SET cursor_pos = CASE WHEN pushers.cursor_pos > told.column4 \
                            THEN pushers.cursor_pos ELSE told.column4 END, \
         badge = told.column5, failures = told.column6, retry_ts = told.column7, \
         letters = told.column8 FROM (",
        ") AS told WHERE pushers.app_id = told.column1 AND pushers.pushkey = told.column2 \
         AND pushers.user_id = told.column3",
        values,
    )
    .await
}

/// What happened while it was switched off, or to whom it was another kind, is not told later.
async fn put(conn: &mut Conn, row: PusherRow) -> Result<()> {
    let values = vec![vec![
        row.key.app_id.into(),
        row.key.pushkey.into(),
        row.key.user_id.into(),
        row.kind.into(),
        row.app_display_name.into(),
        row.device_display_name.into(),
        row.profile_tag.into(),
        row.lang.into(),
        row.data.into(),
        row.enabled.into(),
        row.device_id.into(),
        row.set_ts.into(),
        row.progress.cursor_pos.into(),
        row.progress.badge.into(),
        row.progress.failures.into(),
        row.progress.retry_ts.into(),
        row.unsubscribe.into(),
    ]];
    bulk::insert(
        conn,
        "INSERT INTO pushers (app_id, pushkey, user_id, kind, app_display_name, \
         device_display_name, profile_tag, lang, data, enabled, device_id, set_ts, cursor_pos, \
         badge, failures, retry_ts, unsubscribe)",
        "ON CONFLICT (app_id, pushkey, user_id) DO UPDATE SET kind = excluded.kind, \
         app_display_name = excluded.app_display_name, \
         device_display_name = excluded.device_display_name, profile_tag = excluded.profile_tag, \
         lang = excluded.lang, data = excluded.data, enabled = excluded.enabled, \
         device_id = excluded.device_id, set_ts = excluded.set_ts, \
         cursor_pos = CASE WHEN pushers.enabled = 1 AND pushers.kind = excluded.kind \
                      THEN pushers.cursor_pos ELSE excluded.cursor_pos END, \
         failures = excluded.failures, retry_ts = excluded.retry_ts, \
         unsubscribe = COALESCE(pushers.unsubscribe, excluded.unsubscribe)",
        values,
    )
    .await
}

/// The pushers that a device set go with it; with `None` those of all devices but `except`. Letters go to
/// the user also when no device is logged in, and end with the address.
pub(crate) async fn forget_devices(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    let statement = match device_id {
        Some(device_id) => sql("DELETE FROM pushers WHERE user_id = $1 AND device_id = $2")
            .bind(user_id)
            .bind(device_id),
        // Without an exception it is the account that goes, or everything that was ever let in.
        None if except.is_empty() => {
            sql("DELETE FROM pushers WHERE user_id = $1 AND kind <> 'email'").bind(user_id)
        }
        None => sql("DELETE FROM pushers \
             WHERE user_id = $1 AND device_id <> $2 AND kind <> 'email'")
        .bind(user_id)
        .bind(except),
    };
    statement.execute(conn).await?;
    Ok(())
}

/// The letters to an address go with it; with `None` those to all addresses of the user.
pub(crate) async fn forget_address(
    conn: &mut Conn,
    user_id: &str,
    address: Option<&str>,
) -> Result<()> {
    let statement = match address {
        Some(address) => {
            sql("DELETE FROM pushers WHERE user_id = $1 AND kind = 'email' AND pushkey = $2")
                .bind(user_id)
                .bind(address)
        }
        None => sql("DELETE FROM pushers WHERE user_id = $1 AND kind = 'email'").bind(user_id),
    };
    statement.execute(conn).await?;
    Ok(())
}

const COLUMNS: &str = "user_id, app_id, pushkey, kind, app_display_name, device_display_name, \
                       profile_tag, lang, data, enabled, device_id, set_ts, cursor_pos, badge, \
                       failures, retry_ts, letters, unsubscribe";

fn pusher_row(row: &Row) -> Result<PusherRow> {
    Ok(PusherRow {
        key: PusherKey { user_id: row.get(0)?, app_id: row.get(1)?, pushkey: row.get(2)? },
        kind: row.get(3)?,
        app_display_name: row.get(4)?,
        device_display_name: row.get(5)?,
        profile_tag: row.get(6)?,
        lang: row.get(7)?,
        data: row.get(8)?,
        enabled: row.get(9)?,
        device_id: row.get(10)?,
        set_ts: row.get(11)?,
        progress: Progress {
            cursor_pos: row.get(12)?,
            badge: row.get(13)?,
            failures: row.get(14)?,
            retry_ts: row.get(15)?,
            letters: row.get(16)?,
        },
        unsubscribe: row.get(17)?,
    })
}

/// The pushers of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(conn: &mut Conn, user_id: &str) -> Result<Vec<PusherRow>> {
    let text = format!("SELECT {COLUMNS} FROM pushers WHERE user_id = $1 ORDER BY app_id, pushkey");
    composed(text, vec![user_id.into()]).map(conn, pusher_row).await
}

/// A pusher.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, key: &PusherKey) -> Result<Option<PusherRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM pushers WHERE app_id = $1 AND pushkey = $2 AND user_id = $3"
    );
    let values = vec![(&*key.app_id).into(), (&*key.pushkey).into(), (&*key.user_id).into()];
    Ok(composed(text, values).map(conn, pusher_row).await?.into_iter().next())
}

/// The pusher whose letters have this in their link.
///
/// # Errors
///
/// When the database fails.
pub async fn of_link(conn: &mut Conn, token: &str) -> Result<Option<PusherRow>> {
    let text = format!("SELECT {COLUMNS} FROM pushers WHERE unsubscribe = $1");
    Ok(composed(text, vec![token.into()]).map(conn, pusher_row).await?.into_iter().next())
}

/// The pushers that are to be told something, and when to try that again.
///
/// # Errors
///
/// When the database fails.
pub async fn all_enabled(conn: &mut Conn) -> Result<Vec<(PusherKey, i64)>> {
    sql("SELECT user_id, app_id, pushkey, retry_ts FROM pushers WHERE enabled = 1")
        .map(conn, |row| {
            let key = PusherKey { user_id: row.get(0)?, app_id: row.get(1)?, pushkey: row.get(2)? };
            Ok((key, row.get(3)?))
        })
        .await
}

/// The joined members of a room who have a pusher that is to be told something.
///
/// # Errors
///
/// When the database fails.
pub async fn users_in(conn: &mut Conn, room_id: &str) -> Result<Vec<String>> {
    sql("SELECT DISTINCT p.user_id FROM pushers p JOIN memberships m ON m.user_id = p.user_id \
         WHERE m.room_id = $1 AND m.membership = 'join' AND p.enabled = 1")
    .bind(room_id)
    .map(conn, |row| row.get(0))
    .await
}

//! Connections of sliding sync: what each client has been sent, as states with numbers of which the
//! client names the one that it has.

use crate::{
    bulk,
    db::{Conn, Result, Value, sql},
};

/// How many states that the client may have beside the one that it is known to have.
const KEPT_STATES: i64 = 4;

/// The number of what all states of a connection have in common.
const COMMON: i64 = 0;

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The user.
    pub user_id: String,
    /// The device, or `""`.
    pub device_id: String,
    /// The client's name for it.
    pub conn_id: String,
    /// Its name here, which is not used again.
    pub connection: String,
}

/// A state of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateRow {
    /// Its number, greater than those of the connection's earlier states.
    pub serial: i64,
    /// JSON.
    pub state: String,
    /// Rooms with their JSON: as written those that changed, as read all.
    pub rooms: Vec<(String, String)>,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// A connection begins, in the place of one with the same names. Of a device's connections only
    /// the `most` used last stay.
    Open {
        /// The connection.
        row: ConnectionRow,
        /// Its first state.
        state: StateRow,
        /// The present.
        ts: i64,
        /// How many stay.
        most: i64,
    },
    /// The client has the state `from`, which gets a successor; if there is no such state (any more),
    /// nothing happens.
    Advance {
        /// The connection.
        connection: String,
        /// The number of the state that the client has.
        from: i64,
        /// The successor.
        state: StateRow,
        /// The present.
        ts: i64,
    },
    /// A connection is used.
    Used {
        /// The connection.
        connection: String,
        /// The present.
        ts: i64,
    },
    /// Removes the connections that were not used since a time.
    Expire {
        /// The time.
        before: i64,
    },
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        match row {
            Write::Open { row, state, ts, most } => open(conn, row, state, ts, most).await?,
            Write::Advance { connection, from, state, ts } => {
                advance(conn, &connection, from, state, ts).await?;
            }
            Write::Used { connection, ts } => {
                used(conn, &connection, ts).await?;
            }
            Write::Expire { before } => {
                let old = sql("SELECT connection FROM sliding_connections WHERE used_ts < $1");
                let old = old.bind(before).map(conn, |row| row.get(0)).await?;
                remove(conn, old).await?;
            }
        }
    }
    Ok(())
}

async fn open(
    conn: &mut Conn,
    row: ConnectionRow,
    state: StateRow,
    ts: i64,
    most: i64,
) -> Result<()> {
    let same = sql("SELECT connection FROM sliding_connections \
         WHERE user_id = $1 AND device_id = $2 AND conn_id = $3")
    .bind(&row.user_id)
    .bind(&row.device_id)
    .bind(&row.conn_id)
    .map(conn, |row| row.get(0))
    .await?;
    remove(conn, same).await?;
    sql("INSERT INTO sliding_connections \
         (user_id, device_id, conn_id, connection, confirmed, used_ts) VALUES ($1, $2, $3, $4, 0, $5)")
        .bind(&row.user_id)
        .bind(&row.device_id)
        .bind(&row.conn_id)
        .bind(&row.connection)
        .bind(ts)
        .execute(conn)
        .await?;
    put_state(conn, &row.connection, state).await?;
    let surplus = sql("SELECT connection FROM sliding_connections \
         WHERE user_id = $1 AND device_id = $2 AND connection <> $3 \
         ORDER BY used_ts DESC, connection LIMIT 1000 OFFSET $4")
    .bind(&row.user_id)
    .bind(&row.device_id)
    .bind(&row.connection)
    .bind(most.saturating_sub(1))
    .map(conn, |row| row.get(0))
    .await?;
    remove(conn, surplus).await
}

async fn advance(
    conn: &mut Conn,
    connection: &str,
    from: i64,
    state: StateRow,
    ts: i64,
) -> Result<()> {
    let row = sql("SELECT c.confirmed FROM sliding_connections c JOIN sliding_states s \
         ON s.connection = c.connection AND s.serial = $2 WHERE c.connection = $1")
    .bind(connection)
    .bind(from)
    .optional(conn)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let confirmed: i64 = row.get(0)?;
    if confirmed != from {
        confirm(conn, connection, from).await?;
    }
    put_state(conn, connection, state).await?;
    forget_rivals(conn, connection, from).await?;
    used(conn, connection, ts).await
}

/// The client has a state: it becomes what all later ones have in common.
async fn confirm(conn: &mut Conn, connection: &str, serial: i64) -> Result<()> {
    for text in [
        "DELETE FROM sliding_states WHERE connection = $1 AND serial <> $2",
        "DELETE FROM sliding_rooms WHERE connection = $1 AND serial <> 0 AND serial <> $2",
        "DELETE FROM sliding_rooms WHERE connection = $1 AND serial = 0 AND room_id IN \
         (SELECT n.room_id FROM sliding_rooms n WHERE n.connection = $1 AND n.serial = $2)",
        "UPDATE sliding_rooms SET serial = 0 WHERE connection = $1 AND serial = $2",
        "UPDATE sliding_connections SET confirmed = $2 WHERE connection = $1",
    ] {
        sql(text).bind(connection).bind(serial).execute(conn).await?;
    }
    Ok(())
}

/// Forgets all but the newest of those states that the client may have got after the one that it has.
async fn forget_rivals(conn: &mut Conn, connection: &str, confirmed: i64) -> Result<()> {
    let oldest = sql("SELECT serial FROM sliding_states WHERE connection = $1 AND serial > $2 \
         ORDER BY serial DESC LIMIT 1 OFFSET $3")
    .bind(connection)
    .bind(confirmed)
    .bind(KEPT_STATES)
    .optional(conn)
    .await?;
    let Some(oldest) = oldest else { return Ok(()) };
    let oldest: i64 = oldest.get(0)?;
    for text in [
        "DELETE FROM sliding_states WHERE connection = $1 AND serial > $2 AND serial <= $3",
        "DELETE FROM sliding_rooms WHERE connection = $1 AND serial > $2 AND serial <= $3",
    ] {
        sql(text).bind(connection).bind(confirmed).bind(oldest).execute(conn).await?;
    }
    Ok(())
}

async fn put_state(conn: &mut Conn, connection: &str, state: StateRow) -> Result<()> {
    sql("INSERT INTO sliding_states (connection, serial, state) VALUES ($1, $2, $3)")
        .bind(connection)
        .bind(state.serial)
        .bind(state.state)
        .execute(conn)
        .await?;
    let values = state.rooms.into_iter().map(|(room_id, json)| -> Vec<Value> {
        vec![connection.into(), state.serial.into(), room_id.into(), json.into()]
    });
    let head = "INSERT INTO sliding_rooms (connection, serial, room_id, state)";
    bulk::insert(conn, head, "", values).await
}

async fn used(conn: &mut Conn, connection: &str, ts: i64) -> Result<()> {
    sql("UPDATE sliding_connections SET used_ts = $2 WHERE connection = $1")
        .bind(connection)
        .bind(ts)
        .execute(conn)
        .await?;
    Ok(())
}

async fn remove(conn: &mut Conn, connections: Vec<String>) -> Result<()> {
    for text in [
        "DELETE FROM sliding_rooms WHERE connection = $1",
        "DELETE FROM sliding_states WHERE connection = $1",
        "DELETE FROM sliding_connections WHERE connection = $1",
    ] {
        for connection in &connections {
            sql(text).bind(connection).execute(conn).await?;
        }
    }
    Ok(())
}

/// Removes the connections of a device; with `None` of all devices of the user but `except`.
pub(crate) async fn forget_devices(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    let found = match device_id {
        Some(device_id) => sql("SELECT connection FROM sliding_connections \
             WHERE user_id = $1 AND device_id = $2")
        .bind(user_id)
        .bind(device_id),
        None => sql("SELECT connection FROM sliding_connections \
             WHERE user_id = $1 AND (device_id = '' OR device_id <> $2)")
        .bind(user_id)
        .bind(except),
    };
    let found = found.map(conn, |row| row.get(0)).await?;
    remove(conn, found).await
}

/// What a client has been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The state.
    pub state: StateRow,
    /// The greatest number of a state of the connection.
    pub newest: i64,
    /// When the connection was noted as used.
    pub used_ts: i64,
}

/// The state of a number of a connection, if there is one.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, row: &ConnectionRow, serial: i64) -> Result<Option<Stored>> {
    let found = sql("SELECT c.confirmed, c.used_ts, s.state, \
         (SELECT MAX(n.serial) FROM sliding_states n WHERE n.connection = $4) \
         FROM sliding_connections c \
         JOIN sliding_states s ON s.connection = c.connection AND s.serial = $5 \
         WHERE c.user_id = $1 AND c.device_id = $2 AND c.conn_id = $3 AND c.connection = $4")
    .bind(&row.user_id)
    .bind(&row.device_id)
    .bind(&row.conn_id)
    .bind(&row.connection)
    .bind(serial)
    .optional(conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let (confirmed, used_ts): (i64, i64) = (found.get(0)?, found.get(1)?);
    let (state, newest): (String, i64) = (found.get(2)?, found.get(3)?);
    // What the state changed comes last, and so counts.
    let rooms = sql("SELECT room_id, state FROM sliding_rooms \
         WHERE connection = $1 AND (serial = $2 OR serial = $3) ORDER BY serial")
    .bind(&row.connection)
    .bind(COMMON)
    .bind(if serial == confirmed { COMMON } else { serial })
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await?;
    let rooms = bulk::last_by_key(rooms, |(room_id, _): &(String, String)| room_id.clone());
    Ok(Some(Stored { state: StateRow { serial, state, rooms }, newest, used_ts }))
}

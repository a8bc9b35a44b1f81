//! What application services have been told, and the rooms that they list.

use crate::db::{Conn, Result, sql};

/// How far an application service has been told what happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its name.
    pub id: String,
    /// Everything up to here it was told, or is none of its business.
    pub cursor_pos: i64,
    /// The transaction in flight.
    pub txn: Option<InFlight>,
}

/// A transaction that is being sent, stored so that a repetition is identical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Its id.
    pub txn_id: String,
    /// Its body.
    pub body: String,
    /// Where the cursor goes when it was taken.
    pub pos: i64,
}

/// A room that an application service lists for a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkRoom {
    /// The application service.
    pub appservice_id: String,
    /// The network, as the application service calls it.
    pub network_id: String,
    /// The room.
    pub room_id: String,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// What an application service was told.
    Service(ServiceRow),
    /// Whether a room is listed for a network.
    Listed {
        /// The room and the network.
        room: NetworkRoom,
        /// Whether it is.
        listed: bool,
    },
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        match row {
            Write::Service(row) => put_service(conn, row).await?,
            Write::Listed { room, listed: true } => {
                sql("INSERT INTO network_rooms (appservice_id, network_id, room_id) \
                     VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(room.appservice_id)
                .bind(room.network_id)
                .bind(room.room_id)
                .execute(conn)
                .await?;
            }
            Write::Listed { room, listed: false } => {
                sql("DELETE FROM network_rooms \
                     WHERE appservice_id = $1 AND network_id = $2 AND room_id = $3")
                .bind(room.appservice_id)
                .bind(room.network_id)
                .bind(room.room_id)
                .execute(conn)
                .await?;
            }
        }
    }
    Ok(())
}

async fn put_service(conn: &mut Conn, row: ServiceRow) -> Result<()> {
    let txn = row.txn.as_ref();
    sql("INSERT INTO application_services (id, cursor_pos, txn_id, txn_body, txn_pos) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET \
         cursor_pos = excluded.cursor_pos, txn_id = excluded.txn_id, \
         txn_body = excluded.txn_body, txn_pos = excluded.txn_pos")
    .bind(row.id.clone())
    .bind(row.cursor_pos)
    .bind(txn.map(|t| t.txn_id.clone()))
    .bind(txn.map(|t| t.body.clone()))
    .bind(txn.map(|t| t.pos))
    .execute(conn)
    .await?;
    Ok(())
}

/// What an application service was told.
///
/// # Errors
///
/// When the database fails.
pub async fn service(conn: &mut Conn, id: &str) -> Result<Option<ServiceRow>> {
    let row = sql("SELECT id, cursor_pos, txn_id, txn_body, txn_pos FROM application_services \
                   WHERE id = $1")
    .bind(id)
    .optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let txn_id: Option<String> = row.get(2)?;
    let body: Option<String> = row.get(3)?;
    let pos: Option<i64> = row.get(4)?;
    let txn = txn_id.map(|txn_id| InFlight {
        txn_id,
        body: body.unwrap_or_default(),
        pos: pos.unwrap_or_default(),
    });
    Ok(Some(ServiceRow { id: row.get(0)?, cursor_pos: row.get(1)?, txn }))
}

/// The rooms that application services list, for all networks.
///
/// # Errors
///
/// When the database fails.
pub async fn network_rooms(conn: &mut Conn) -> Result<Vec<NetworkRoom>> {
    sql("SELECT appservice_id, network_id, room_id FROM network_rooms \
         ORDER BY appservice_id, network_id, room_id")
    .map(conn, |row| {
        Ok(NetworkRoom {
            appservice_id: row.get(0)?,
            network_id: row.get(1)?,
            room_id: row.get(2)?,
        })
    })
    .await
}

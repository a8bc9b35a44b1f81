//! What a commit made true: the only thing that wakes anybody.
//!
//! Every fact that a client can see has one position, given by the commit that wrote it. The row in
//! `positions` and the value published in the process are the same fact, so a listener in another
//! process, or one that was away, reads from the table what it did not hear.

use crate::db::{Conn, DbError, Result, Row, sql};

/// A fact at its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positioned {
    /// The deployment-wide position.
    pub pos: i64,
    /// What became true there.
    pub fact: Fact,
}

/// Something that a commit made true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An event took its place in the timeline of a room.
    Event {
        /// The room.
        room_id: String,
        /// The event.
        event_id: String,
        /// Whether this deployment made it and owes it to other servers.
        local: bool,
        /// For `m.room.member`: whose membership, so that their sync learns about the room.
        member: Option<String>,
    },
    /// The current state of a room changed other than by the event last in its timeline.
    State {
        /// The room.
        room_id: String,
    },
    /// A membership that is known without the room: a remote invite or knock, its withdrawal, or a
    /// rejection that the remote server was not there to confirm.
    Membership {
        /// Whose.
        user_id: String,
        /// Of which room.
        room_id: String,
    },
    /// Account data of a user changed.
    AccountData {
        /// The user.
        user_id: String,
        /// The room, or `""` for global account data.
        room_id: String,
        /// The event type of the data.
        kind: String,
    },
    /// A receipt was stored.
    Receipt {
        /// The room.
        room_id: String,
        /// Who read.
        user_id: String,
        /// Whether only the user may see it.
        private: bool,
    },
    /// The device list of a user changed.
    Devices {
        /// The user.
        user_id: String,
    },
    /// A message to devices of a user of this deployment came in.
    ToDevice {
        /// The user.
        user_id: String,
    },
    /// A user of this deployment signed the key of another, which only they see.
    Signed {
        /// Who signed.
        user_id: String,
    },
    /// A message to devices waits for another server.
    Owed {
        /// The server.
        server: String,
    },
    /// A user follows a thread, or does no more.
    Subscription {
        /// The user.
        user_id: String,
        /// The room.
        room_id: String,
    },
    /// A user wants to be told in another way of what notifies them.
    Pushers {
        /// The user.
        user_id: String,
    },
    /// What a device has of one-time and fallback keys for others changed.
    Supply {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
    },
}

impl Fact {
    /// The columns `(kind, subject, object, detail)` of the fact's row.
    pub(crate) fn columns(&self) -> (i16, &str, &str, String) {
        match self {
            Self::Event { room_id, event_id, local, member } => {
                let local = if *local { "l" } else { "r" };
                let member = member.as_deref().unwrap_or_default();
                (1, room_id, event_id, format!("{local}{member}"))
            }
            Self::State { room_id } => (2, room_id, "", String::new()),
            Self::Membership { user_id, room_id } => (3, user_id, room_id, String::new()),
            Self::AccountData { user_id, room_id, kind } => (4, user_id, room_id, kind.clone()),
            Self::Receipt { room_id, user_id, private } => {
                (5, room_id, user_id, if *private { "p" } else { "" }.to_owned())
            }
            Self::Devices { user_id } => (6, user_id, "", String::new()),
            Self::ToDevice { user_id } => (7, user_id, "", String::new()),
            Self::Signed { user_id } => (9, user_id, "", String::new()),
            Self::Owed { server } => (8, server, "", String::new()),
            Self::Subscription { user_id, room_id } => (10, user_id, room_id, String::new()),
            Self::Pushers { user_id } => (11, user_id, "", String::new()),
            Self::Supply { user_id, device_id } => (12, user_id, device_id, String::new()),
        }
    }

    fn from_columns(kind: i16, subject: String, object: String, detail: String) -> Result<Self> {
        Ok(match kind {
            1 => Self::Event {
                room_id: subject,
                event_id: object,
                local: detail.starts_with('l'),
                member: detail.get(1..).filter(|m| !m.is_empty()).map(ToOwned::to_owned),
            },
            2 => Self::State { room_id: subject },
            3 => Self::Membership { user_id: subject, room_id: object },
            4 => Self::AccountData { user_id: subject, room_id: object, kind: detail },
            5 => Self::Receipt { room_id: subject, user_id: object, private: detail == "p" },
            6 => Self::Devices { user_id: subject },
            7 => Self::ToDevice { user_id: subject },
            8 => Self::Owed { server: subject },
            9 => Self::Signed { user_id: subject },
            10 => Self::Subscription { user_id: subject, room_id: object },
            11 => Self::Pushers { user_id: subject },
            12 => Self::Supply { user_id: subject, device_id: object },
            other => return Err(DbError::Corrupt(format!("a fact of kind {other}"))),
        })
    }
}

fn from_row(row: &Row) -> Result<Positioned> {
    let fact = Fact::from_columns(row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)?;
    Ok(Positioned { pos: row.get(0)?, fact })
}

/// The facts after `after` up to and including `until`, in order, at most `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn between(
    conn: &mut Conn,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Positioned>> {
    sql("SELECT pos, kind, subject, object, detail FROM positions \
         WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3")
    .bind(after)
    .bind(until)
    .bind(limit)
    .map(conn, from_row)
    .await
}

/// The newest position of the deployment; 0 when nothing was ever written.
///
/// # Errors
///
/// When the database fails.
pub async fn head(conn: &mut Conn) -> Result<i64> {
    let row = sql("SELECT value FROM counters WHERE name = 'stream'").optional(conn).await?;
    row.map_or(Ok(0), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_their_row() {
        let s = ToOwned::to_owned;
        let facts = [
            Fact::Event { room_id: s("!r"), event_id: s("$e"), local: true, member: None },
            Fact::Event {
                room_id: s("!r"),
                event_id: s("$e"),
                local: false,
                member: Some(s("@é:b")),
            },
            Fact::State { room_id: s("!r") },
            Fact::Membership { user_id: s("@a:b"), room_id: s("!r") },
            Fact::AccountData { user_id: s("@a:b"), room_id: s(""), kind: s("m.direct") },
            Fact::Receipt { room_id: s("!r"), user_id: s("@a:b"), private: true },
            Fact::Devices { user_id: s("@a:b") },
            Fact::ToDevice { user_id: s("@a:b") },
            Fact::Owed { server: s("b") },
            Fact::Signed { user_id: s("@a:b") },
            Fact::Subscription { user_id: s("@a:b"), room_id: s("!r") },
            Fact::Pushers { user_id: s("@a:b") },
            Fact::Supply { user_id: s("@a:b"), device_id: s("D") },
        ];
        for fact in facts {
            let (kind, subject, object, detail) = fact.columns();
            let again = Fact::from_columns(kind, s(subject), s(object), detail).unwrap();
            assert_eq!(again, fact);
        }
    }
}

//! Users and devices; their tokens in [`tokens`].

use crate::db::{Conn, Result, Row, sql};

pub mod tokens;

/// Bits of [`UserRow::flags`].
pub mod flags {
    /// May use the admin API.
    pub const ADMIN: i16 = 1;
    /// Registered as a guest.
    pub const GUEST: i16 = 2;
    /// Locked: every request but log-out is refused.
    pub const LOCKED: i16 = 4;
    /// Suspended: may read, and do little else.
    pub const SUSPENDED: i16 = 8;
    /// Asked at deactivation that their data be erased.
    pub const ERASED: i16 = 16;
}

/// An account of this deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRow {
    /// The full user id.
    pub user_id: String,
    /// PHC string; `None`: cannot log in by password.
    pub password_hash: Option<String>,
    /// See [`flags`].
    pub flags: i16,
    /// The application service that owns it.
    pub appservice_id: Option<String>,
    /// When it was made.
    pub created_ts: i64,
    /// When it was deactivated.
    pub deactivated_ts: Option<i64>,
}

/// A device of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRow {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Its name, which the user may change.
    pub display_name: Option<String>,
    /// When it was made.
    pub created_ts: i64,
    /// When it last made a request.
    pub last_seen_ts: Option<i64>,
    /// From which address.
    pub last_seen_ip: Option<String>,
}

/// A row that can be used once.
#[derive(Clone, Debug)]
pub enum Once {
    /// A log-in token (`m.login.token`), by its SHA-256.
    LoginToken(Vec<u8>),
    /// A user-interactive session.
    UiaSession(String),
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets the password hash of a user.
    Password {
        /// The user.
        user_id: String,
        /// PHC string; `None` removes it.
        hash: Option<String>,
    },
    /// Replaces the flags of a user.
    Flags {
        /// The user.
        user_id: String,
        /// See [`flags`].
        flags: i16,
    },
    /// Marks a user as deactivated.
    Deactivate {
        /// The user.
        user_id: String,
        /// When.
        ts: i64,
    },
    /// Adds a device, or renames it.
    Device(DeviceRow),
    /// Removes a device with its tokens.
    RemoveDevice {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
    },
    /// Adds and removes access and refresh tokens.
    Token(tokens::Write),
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        apply_one(conn, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, row: Write) -> Result<()> {
    match row {
        Write::Password { user_id, hash } => {
            sql("UPDATE users SET password_hash = $2 WHERE user_id = $1").bind(user_id).bind(hash)
        }
        Write::Flags { user_id, flags } => {
            sql("UPDATE users SET flags = $2 WHERE user_id = $1").bind(user_id).bind(flags)
        }
        Write::Deactivate { user_id, ts } => {
            sql("UPDATE users SET deactivated_ts = $2, password_hash = NULL WHERE user_id = $1")
                .bind(user_id)
                .bind(ts)
        }
        Write::Device(d) => sql("INSERT INTO devices (user_id, device_id, display_name, \
             created_ts, last_seen_ts, last_seen_ip) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (user_id, device_id) DO UPDATE SET display_name = excluded.display_name")
        .bind(d.user_id)
        .bind(d.device_id)
        .bind(d.display_name)
        .bind(d.created_ts)
        .bind(d.last_seen_ts)
        .bind(d.last_seen_ip),
        Write::RemoveDevice { user_id, device_id } => {
            tokens::remove_of_device(conn, &user_id, &device_id).await?;
            sql("DELETE FROM devices WHERE user_id = $1 AND device_id = $2")
                .bind(user_id)
                .bind(device_id)
        }
        Write::Token(write) => return tokens::apply(conn, write).await,
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the row of a new user; `false` when the id is taken.
pub(crate) async fn claim_user(conn: &mut Conn, user: &UserRow) -> Result<bool> {
    let changed = sql("INSERT INTO users (user_id, password_hash, flags, appservice_id, \
         created_ts, deactivated_ts) VALUES ($1, $2, $3, $4, $5, NULL) ON CONFLICT DO NOTHING")
    .bind(&user.user_id)
    .bind(user.password_hash.clone())
    .bind(user.flags)
    .bind(user.appservice_id.clone())
    .bind(user.created_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Counts a use of a registration token; `false` when it has none left.
pub(crate) async fn claim_registration_token(
    conn: &mut Conn,
    token: &str,
    now_ts: i64,
) -> Result<bool> {
    let changed = sql("UPDATE registration_tokens SET completed = completed + 1 \
         WHERE token = $1 AND (uses_allowed IS NULL OR completed < uses_allowed) \
         AND (expires_ts IS NULL OR expires_ts > $2)")
    .bind(token)
    .bind(now_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Removes a row that can be used once; `false` when it is gone.
pub(crate) async fn claim_once(conn: &mut Conn, once: &Once) -> Result<bool> {
    let changed = match once {
        Once::LoginToken(hash) => {
            sql("DELETE FROM login_tokens WHERE token_hash = $1").bind(hash.clone())
        }
        Once::UiaSession(id) => sql("DELETE FROM uia_sessions WHERE session_id = $1").bind(id),
    }
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

fn user_row(row: &Row) -> Result<UserRow> {
    Ok(UserRow {
        user_id: row.get(0)?,
        password_hash: row.get(1)?,
        flags: row.get(2)?,
        appservice_id: row.get(3)?,
        created_ts: row.get(4)?,
        deactivated_ts: row.get(5)?,
    })
}

/// An account.
///
/// # Errors
///
/// When the database fails.
pub async fn user(conn: &mut Conn, user_id: &str) -> Result<Option<UserRow>> {
    let row = sql("SELECT user_id, password_hash, flags, appservice_id, created_ts, \
         deactivated_ts FROM users WHERE user_id = $1")
    .bind(user_id)
    .optional(conn)
    .await?;
    row.as_ref().map(user_row).transpose()
}

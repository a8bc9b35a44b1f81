//! Accounts, their devices, tokens, user-interactive sessions; what limits guessing.

use crate::db::{Conn, Result, Row, composed, sql};

pub mod attempts;
pub mod devices;
pub mod email_sessions;
pub mod guest_rooms;
pub mod membership_tasks;
pub mod passes;
pub mod rate_limits;
pub mod registration_tokens;
pub mod reports;
pub mod threepids;
pub mod tokens;
pub mod uia;

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
    /// What they say seems to be said, and is not.
    pub const SHADOW_BANNED: i16 = 32;
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

/// A row that can be used once.
#[derive(Clone, Debug)]
pub enum Once {
    /// A log-in token (`m.login.token`), by its SHA-256.
    LoginToken(Vec<u8>),
    /// A user-interactive session.
    UiaSession(String),
    /// An email session.
    EmailSession(String),
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets the password hash of a user, whose user-interactive sessions end.
    Password {
        /// The user.
        user_id: String,
        /// PHC string; `None` removes it.
        hash: Option<String>,
    },
    /// Sets or clears flags of a user, and leaves the others as they are.
    Flag {
        /// The user.
        user_id: String,
        /// See [`flags`]; several together are possible.
        flag: i16,
        /// Whether to set or to clear them.
        on: bool,
    },
    /// Marks a user as deactivated, and takes the password.
    Deactivate {
        /// The user.
        user_id: String,
        /// When.
        ts: i64,
    },
    /// Devices.
    Device(devices::Write),
    /// Access and refresh tokens.
    Token(tokens::Write),
    /// Log-in and OpenID tokens.
    Pass(passes::Write),
    /// User-interactive sessions.
    Uia(uia::Write),
    /// What memberships are to follow.
    MembershipTask(membership_tasks::Write),
    /// Third-party identifiers.
    Threepid(threepids::Write),
    /// How often a user may do something.
    RateLimit(rate_limits::Write),
    /// The address of an email session is validated.
    EmailValidated {
        /// The session.
        session_id: String,
        /// When.
        ts: i64,
    },
    /// The letter of an attempt was not sent.
    EmailNotSent {
        /// The session.
        session_id: String,
        /// The attempt.
        send_attempt: i64,
    },
    /// Rooms that guests are to leave.
    GuestRoom(guest_rooms::Write),
    /// Adds a report.
    Report(reports::ReportRow),
    /// Forgets a key's attempts.
    ResetAttempts {
        /// What is counted.
        bucket: &'static str,
        /// Whose.
        key: String,
    },
    /// Removes what has expired: user-interactive sessions made before, attempts counted before,
    /// log-in and OpenID tokens valid until this time; and email sessions made before another time.
    Expire {
        /// A time.
        before: i64,
        /// The time for email sessions.
        emails_before: i64,
    },
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        apply_one(conn, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, row: Write) -> Result<()> {
    let statement = match row {
        Write::Password { user_id, hash } => {
            // What was proved by the old password is proved no more.
            uia::forget_of(conn, &user_id).await?;
            sql("UPDATE users SET password_hash = $2 WHERE user_id = $1").bind(user_id).bind(hash)
        }
        Write::Flag { user_id, flag, on: true } => {
            sql("UPDATE users SET flags = flags | $2 WHERE user_id = $1").bind(user_id).bind(flag)
        }
        Write::Flag { user_id, flag, on: false } => {
            sql("UPDATE users SET flags = flags & $2 WHERE user_id = $1").bind(user_id).bind(!flag)
        }
        Write::Deactivate { user_id, ts } => {
            sql("UPDATE users SET deactivated_ts = $2, password_hash = NULL WHERE user_id = $1")
                .bind(user_id)
                .bind(ts)
        }
        Write::Device(write) => return devices::apply(conn, write).await,
        Write::Token(write) => return tokens::apply(conn, write).await,
        Write::Pass(write) => return passes::apply(conn, write).await,
        Write::Uia(write) => return uia::apply(conn, write).await,
        Write::MembershipTask(write) => return membership_tasks::apply(conn, write).await,
        Write::RateLimit(write) => return rate_limits::apply(conn, write).await,
        Write::Threepid(write) => return threepids::apply(conn, write).await,
        Write::EmailValidated { session_id, ts } => {
            return email_sessions::validated(conn, session_id, ts).await;
        }
        Write::EmailNotSent { session_id, send_attempt } => {
            return email_sessions::not_sent(conn, session_id, send_attempt).await;
        }
        Write::GuestRoom(write) => return guest_rooms::apply(conn, write).await,
        Write::Report(row) => return reports::put(conn, row).await,
        Write::ResetAttempts { bucket, key } => return attempts::reset(conn, bucket, key).await,
        Write::Expire { before, emails_before } => {
            return expire(conn, before, emails_before).await;
        }
    };
    statement.execute(conn).await?;
    Ok(())
}

async fn expire(conn: &mut Conn, before: i64, emails_before: i64) -> Result<()> {
    email_sessions::forget(conn, emails_before).await?;
    uia::forget(conn, before).await?;
    attempts::forget(conn, before).await?;
    passes::forget(conn, before).await
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

/// Makes a guest's account one like others, with that password; `false` when it is none.
pub(crate) async fn claim_guest(
    conn: &mut Conn,
    user_id: &str,
    password_hash: Option<String>,
) -> Result<bool> {
    let changed = sql("UPDATE users SET password_hash = $2, flags = flags & $3 \
         WHERE user_id = $1 AND (flags & $4) <> 0 AND deactivated_ts IS NULL")
    .bind(user_id)
    .bind(password_hash)
    .bind(!flags::GUEST)
    .bind(flags::GUEST)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Whether an account is not closed and its password, if one is given, still this one. Until the commit
/// nobody changes that.
pub(crate) async fn claim_password(
    conn: &mut Conn,
    user_id: &str,
    hash: Option<&str>,
) -> Result<bool> {
    let statement = match hash {
        Some(hash) => sql("UPDATE users SET flags = flags WHERE user_id = $1 \
             AND deactivated_ts IS NULL AND password_hash = $2")
        .bind(user_id)
        .bind(hash),
        None => sql("UPDATE users SET flags = flags WHERE user_id = $1 \
             AND deactivated_ts IS NULL")
        .bind(user_id),
    };
    Ok(statement.execute(conn).await? == 1)
}

/// Removes a row that can be used once; `false` when it is gone.
pub(crate) async fn claim_once(conn: &mut Conn, once: &Once) -> Result<bool> {
    let changed = match once {
        Once::LoginToken(hash) => {
            sql("DELETE FROM login_tokens WHERE token_hash = $1").bind(hash.clone())
        }
        Once::UiaSession(id) => sql("DELETE FROM uia_sessions WHERE session_id = $1").bind(id),
        Once::EmailSession(id) => sql("DELETE FROM email_sessions WHERE session_id = $1").bind(id),
    }
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// The columns of an account, in a query that calls its table `u`.
pub(crate) const COLUMNS: &str = "u.user_id, u.password_hash, u.flags, u.appservice_id, \
                                  u.created_ts, u.deactivated_ts";

/// An account, when [`COLUMNS`] come first.
pub(crate) fn user_row(row: &Row) -> Result<UserRow> {
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
    let text = format!("SELECT {COLUMNS} FROM users u WHERE u.user_id = $1");
    let rows = composed(text, vec![user_id.into()]).map(conn, user_row).await?;
    Ok(rows.into_iter().next())
}

/// Whether there is no account at all.
///
/// # Errors
///
/// When the database fails.
pub async fn nobody(conn: &mut Conn) -> Result<bool> {
    Ok(sql("SELECT user_id FROM users LIMIT 1").optional(conn).await?.is_none())
}

/// Which of these users asked at deactivation that their data be erased.
///
/// # Errors
///
/// When the database fails.
pub async fn erased(conn: &mut Conn, users: &[String]) -> Result<Vec<String>> {
    sql("SELECT user_id FROM users WHERE user_id = ANY($1) AND (flags & $2) <> 0")
        .bind(users)
        .bind(flags::ERASED)
        .map(conn, |row| row.get(0))
        .await
}

//! Accounts, as administrators page through them.

use crate::{
    accounts::{self, UserRow, flags, user_row},
    db::{Conn, Result, Row, Value, composed},
};

/// An account with what a list shows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedUser {
    /// The account.
    pub user: UserRow,
    /// The display name, a JSON string.
    pub display_name: Option<String>,
    /// The avatar, a JSON string.
    pub avatar_url: Option<String>,
    /// When one of its devices was last seen.
    pub last_seen_ts: Option<i64>,
}

/// By what a list of accounts is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By user id.
    #[default]
    Name,
    /// Guests after others.
    Guest,
    /// Administrators after others.
    Admin,
    /// Who is deactivated after others.
    Deactivated,
    /// Who is locked after others.
    Locked,
    /// By display name.
    DisplayName,
    /// By avatar.
    AvatarUrl,
    /// By when they were made.
    Created,
    /// By when they were last seen.
    LastSeen,
}

/// Which accounts are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Part of the user id.
    pub user_id: Option<String>,
    /// Part of the user id's local part or of the display name.
    pub name: Option<String>,
    /// Only guests, or none.
    pub guests: Option<bool>,
    /// Only administrators, or none.
    pub admins: Option<bool>,
    /// Only who is deactivated, or none.
    pub deactivated: Option<bool>,
    /// Only who is locked, or none.
    pub locked: Option<bool>,
    /// The order; equal ones by user id.
    pub order: Order,
    /// The other way round.
    pub backwards: bool,
    /// How many to leave out.
    pub offset: i64,
    /// How many at most.
    pub limit: i64,
}

const SOURCE: &str = "users u \
     LEFT JOIN profiles d ON d.user_id = u.user_id AND d.field = 'displayname' \
     LEFT JOIN profiles a ON a.user_id = u.user_id AND a.field = 'avatar_url'";

/// When one of a user's devices was last seen.
const LAST_SEEN: &str = "(SELECT MAX(v.last_seen_ts) FROM devices v WHERE v.user_id = u.user_id)";

fn columns() -> String {
    format!("{}, d.value, a.value, {LAST_SEEN}", accounts::COLUMNS)
}

fn listed(row: &Row) -> Result<ListedUser> {
    Ok(ListedUser {
        user: user_row(row)?,
        display_name: row.get(6)?,
        avatar_url: row.get(7)?,
        last_seen_ts: row.get(8)?,
    })
}

/// A page of accounts, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn page(conn: &mut Conn, wanted: &Wanted) -> Result<(Vec<ListedUser>, i64)> {
    let (conditions, mut values) = conditions(wanted);
    let count = format!("SELECT COUNT(*) FROM {SOURCE} WHERE {conditions}");
    let count = composed(count, values.clone()).long().optional(conn).await?;
    let total = count.map_or(Ok(0), |row| row.get(0))?;
    let direction = if wanted.backwards { "DESC" } else { "ASC" };
    let column = column(wanted.order);
    let text = format!(
        "SELECT {} FROM {SOURCE} WHERE {conditions} \
         ORDER BY {column} {direction}, u.user_id LIMIT $3 OFFSET $4",
        columns()
    );
    values.extend([wanted.limit.into(), wanted.offset.into()]);
    Ok((composed(text, values).long().map(conn, listed).await?, total))
}

/// One account.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, user_id: &str) -> Result<Option<ListedUser>> {
    let text = format!("SELECT {} FROM {SOURCE} WHERE u.user_id = $1", columns());
    let rows = composed(text, vec![user_id.into()]).map(conn, listed).await?;
    Ok(rows.into_iter().next())
}

/// `$1` is what the user id contains, `$2` what the name does; both patterns.
fn conditions(wanted: &Wanted) -> (String, Vec<Value>) {
    let mut text = "LOWER(u.user_id) LIKE $1 ESCAPE '!' AND ($2 = '%' \
         OR LOWER(SUBSTR(u.user_id, 2)) LIKE $2 || ':%' ESCAPE '!' \
         OR LOWER(COALESCE(d.value, '')) LIKE $2 ESCAPE '!')"
        .to_owned();
    for (flag, only) in [
        (flags::GUEST, wanted.guests),
        (flags::ADMIN, wanted.admins),
        (flags::LOCKED, wanted.locked),
    ] {
        if let Some(only) = only {
            let comparison = if only { "<>" } else { "=" };
            text.push_str(&format!(" AND (u.flags & {flag}) {comparison} 0"));
        }
    }
    match wanted.deactivated {
        Some(true) => text.push_str(" AND u.deactivated_ts IS NOT NULL"),
        Some(false) => text.push_str(" AND u.deactivated_ts IS NULL"),
        None => {}
    }
    let values = vec![pattern(wanted.user_id.as_deref()), pattern(wanted.name.as_deref())];
    (text, values)
}

/// What LIKE takes for "contains", in small letters.
pub(super) fn pattern(part: Option<&str>) -> Value {
    let part = part.unwrap_or_default().to_lowercase();
    let mut pattern = "%".to_owned();
    for letter in part.chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    if !part.is_empty() {
        pattern.push('%');
    }
    pattern.into()
}

fn column(order: Order) -> String {
    let flag = |flag: i16| format!("(u.flags & {flag})");
    match order {
        Order::Name => "u.user_id".to_owned(),
        Order::Guest => flag(flags::GUEST),
        Order::Admin => flag(flags::ADMIN),
        Order::Locked => flag(flags::LOCKED),
        Order::Deactivated => "(CASE WHEN u.deactivated_ts IS NULL THEN 0 ELSE 1 END)".to_owned(),
        Order::DisplayName => "COALESCE(d.value, '')".to_owned(),
        Order::AvatarUrl => "COALESCE(a.value, '')".to_owned(),
        Order::Created => "u.created_ts".to_owned(),
        Order::LastSeen => format!("COALESCE({LAST_SEEN}, 0)"),
    }
}

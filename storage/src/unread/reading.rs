//! Reading what is unread.

use std::sync::LazyLock;

use super::{Mark, Numbers, own};
use crate::db::{Conn, Result, Row, Value, sql};

/// The running numbers of a thread.
///
/// # Errors
///
/// When the database fails.
pub async fn numbers(conn: &mut Conn, room_id: &str, thread: &str) -> Result<Numbers> {
    let row = sql("SELECT notify_count, highlight_count FROM thread_counts \
         WHERE room_id = $1 AND thread_root = $2")
    .bind(room_id)
    .bind(thread)
    .optional(conn)
    .await?;
    row.map_or(Ok(Numbers::default()), |row| {
        Ok(Numbers { notify: row.get(0)?, highlight: row.get(1)? })
    })
}

/// Up to where a user has read in a room, all threads.
///
/// # Errors
///
/// When the database fails.
pub async fn marks(conn: &mut Conn, user_id: &str, room_id: &str) -> Result<Vec<Mark>> {
    sql("SELECT user_id, room_id, thread_root, pos FROM unread_marks \
         WHERE user_id = $1 AND room_id = $2 ORDER BY thread_root")
    .bind(user_id)
    .bind(room_id)
    .map(conn, |row| {
        Ok(Mark {
            user_id: row.get(0)?,
            room_id: row.get(1)?,
            thread: row.get(2)?,
            pos: row.get(3)?,
        })
    })
    .await
}

/// A part of what a user has not read in a thread; the parts are to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The room.
    pub room_id: String,
    /// The thread.
    pub thread: String,
    /// What is to be added.
    pub numbers: Numbers,
}

/// What a user has not read in some rooms, in parts.
///
/// # Errors
///
/// When the database fails.
pub async fn counts(conn: &mut Conn, user_id: &str, room_ids: &[String]) -> Result<Vec<Part>> {
    sql(&PARTS)
        .bind(user_id)
        .bind(room_ids)
        .map(conn, |row| {
            Ok(Part {
                room_id: row.get(0)?,
                thread: row.get(1)?,
                numbers: Numbers { notify: row.get(2)?, highlight: row.get(3)? },
            })
        })
        .await
}

static PARTS: LazyLock<String> = LazyLock::new(|| {
    let by_rows = own::parts();
    let parts = [BY_DEFAULT, TAKEN_OFF].into_iter().chain(by_rows.iter().map(String::as_str));
    parts.collect::<Vec<_>>().join(" UNION ALL ")
});

/// The difference of the running numbers: now, or where the user's own rules begin, and where they
/// have read up to. An index of an expression leads SQLite nowhere when it is compared with a column of texts, so
/// that is made an expression, too.
const BY_DEFAULT: &str = "SELECT c.room_id, c.thread_root, \
       CASE WHEN m.own_rules_pos IS NULL THEN c.notify_count ELSE COALESCE(e.notify_count, c.base_notify) END \
         - COALESCE(s.notify_count, c.base_notify), \
       CASE WHEN m.own_rules_pos IS NULL THEN c.highlight_count \
            ELSE COALESCE(e.highlight_count, c.base_highlight) END - COALESCE(s.highlight_count, c.base_highlight) \
     FROM memberships m \
     LEFT JOIN unread_marks w \
       ON w.user_id = m.user_id AND w.room_id = m.room_id AND w.thread_root = '' \
     JOIN thread_counts c ON c.room_id = m.room_id AND c.pos > COALESCE(w.pos, 0) \
     LEFT JOIN unread_marks k \
       ON k.user_id = m.user_id AND k.room_id = m.room_id AND k.thread_root = c.thread_root \
     LEFT JOIN timeline s ON s.pos = (SELECT MAX(t.pos) FROM timeline t \
       WHERE t.room_id = c.room_id AND COALESCE(t.thread_root, 'main') = COALESCE(c.thread_root, '') \
       AND t.notifies > 0 AND t.pos <= CASE WHEN COALESCE(k.pos, 0) > COALESCE(w.pos, 0) \
                                            THEN k.pos ELSE COALESCE(w.pos, 0) END) \
     LEFT JOIN timeline e ON e.pos = (SELECT MAX(t.pos) FROM timeline t \
       WHERE t.room_id = c.room_id AND COALESCE(t.thread_root, 'main') = COALESCE(c.thread_root, '') \
       AND t.notifies > 0 AND t.pos <= m.own_rules_pos) \
     WHERE m.user_id = $1 AND m.room_id = ANY($2) AND c.pos > COALESCE(k.pos, 0) \
       AND COALESCE(m.own_rules_pos, c.pos) > COALESCE(w.pos, 0) \
       AND COALESCE(m.own_rules_pos, c.pos) > COALESCE(k.pos, 0)";

/// What of it was redacted since.
const TAKEN_OFF: &str = "SELECT t.room_id, COALESCE(t.thread_root, 'main'), \
       CAST(-COUNT(*) AS BIGINT), \
       CAST(-SUM(CASE WHEN t.notifies = 7 THEN 1 ELSE 0 END) AS BIGINT) \
     FROM memberships m \
     LEFT JOIN unread_marks w \
       ON w.user_id = m.user_id AND w.room_id = m.room_id AND w.thread_root = '' \
     JOIN timeline t ON t.room_id = m.room_id AND t.pos > COALESCE(w.pos, 0) AND t.notifies >= 4 \
     LEFT JOIN unread_marks k ON k.user_id = m.user_id AND k.room_id = m.room_id \
       AND k.thread_root = COALESCE(t.thread_root, 'main') \
     WHERE m.user_id = $1 AND m.room_id = ANY($2) AND t.pos > COALESCE(k.pos, 0) \
       AND t.pos <= COALESCE(m.own_rules_pos, t.pos) \
     GROUP BY t.room_id, COALESCE(t.thread_root, 'main')";

/// A member of this deployment whose rules are to be asked about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The user.
    pub user_id: String,
    /// Their name in the room.
    pub display_name: Option<String>,
    /// Whether their rules are their own; otherwise the default ones are theirs.
    pub own_rules: bool,
    /// Where their rules were set last.
    pub rules_pos: Option<i64>,
    /// Where the users whom they ignore were set last.
    pub ignored_pos: Option<i64>,
}

/// The joined members of this deployment to whom an event of a room may mean something else than to
/// everybody: those with rules of their own, and the `mentioned`.
///
/// # Errors
///
/// When the database fails.
pub async fn listeners(
    conn: &mut Conn,
    room_id: &str,
    mentioned: &[String],
) -> Result<Vec<Listener>> {
    let mut found = listeners_by(conn, OWN_RULES, room_id, &[]).await?;
    if !mentioned.is_empty() {
        let which = "m.own_rules_pos IS NULL AND m.user_id = ANY($2)";
        found.extend(listeners_by(conn, which, room_id, mentioned).await?);
    }
    Ok(found)
}

/// Those with rules of their own.
const OWN_RULES: &str = "m.own_rules_pos IS NOT NULL";

fn listeners_text(which: &str) -> String {
    format!(
        "SELECT m.user_id, m.display_name, \
           CASE WHEN m.own_rules_pos IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END, r.pos, i.pos \
         FROM memberships m \
         LEFT JOIN account_data r \
           ON r.user_id = m.user_id AND r.room_id = '' AND r.type = 'm.push_rules' \
         LEFT JOIN account_data i \
           ON i.user_id = m.user_id AND i.room_id = '' AND i.type = 'm.ignored_user_list' \
         WHERE m.room_id = $1 AND m.local = 1 AND m.membership = 'join' AND {which} \
         ORDER BY m.user_id"
    )
}

async fn listeners_by(
    conn: &mut Conn,
    which: &str,
    room_id: &str,
    mentioned: &[String],
) -> Result<Vec<Listener>> {
    let mut values: Vec<Value> = vec![room_id.into()];
    if !mentioned.is_empty() {
        values.push(mentioned.into());
    }
    crate::db::composed(listeners_text(which), values)
        .map(conn, |row| {
            let own_rules: i64 = row.get(2)?;
            Ok(Listener {
                user_id: row.get(0)?,
                display_name: row.get(1)?,
                own_rules: own_rules != 0,
                rules_pos: row.get(3)?,
                ignored_pos: row.get(4)?,
            })
        })
        .await
}

/// An event that a user was notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// Where it stands.
    pub pos: i64,
    /// The thread.
    pub thread: String,
    /// Whether it highlights.
    pub highlight: bool,
}

/// The newest events before `before` that notified a user by their rules or the default ones, newest
/// first, at most `limit`. Whether they were in the room at the time is not looked at, but that they
/// are now.
///
/// # Errors
///
/// When the database fails.
pub async fn notified(
    conn: &mut Conn,
    user_id: &str,
    before: i64,
    highlights_only: bool,
    limit: i64,
) -> Result<Vec<Notified>> {
    let (default, own) = match highlights_only {
        true => ("d.notifies = 3", "d.highlight > 0"),
        false => ("d.notifies < 4", "d.notify > 0"),
    };
    // Of each room only its newest ones: a user of many rooms does not pay for all of their history.
    let text = format!(
        "SELECT t.room_id, t.event_id, t.pos, COALESCE(t.thread_root, 'main'), \
           CAST(CASE WHEN t.notifies = 3 THEN 1 ELSE 0 END + COALESCE(n.highlight, 0) AS BIGINT) \
         FROM memberships m JOIN timeline t ON t.room_id = m.room_id AND t.pos IN \
           (SELECT d.pos FROM timeline d WHERE d.room_id = m.room_id AND d.pos < $2 \
            AND d.notifies > 0 AND {default} AND d.pos <= COALESCE(m.own_rules_pos, d.pos) \
            ORDER BY d.pos DESC LIMIT $3) \
         LEFT JOIN notifications n \
           ON n.user_id = m.user_id AND n.room_id = m.room_id AND n.pos = t.pos \
         WHERE m.user_id = $1 AND m.membership = 'join' \
         UNION ALL \
         SELECT n.room_id, n.event_id, n.pos, n.thread_root, CAST(n.highlight AS BIGINT) \
         FROM memberships m JOIN notifications n ON n.user_id = m.user_id AND n.room_id = m.room_id \
           AND n.pos IN (SELECT d.pos FROM notifications d WHERE d.user_id = m.user_id \
             AND d.room_id = m.room_id AND d.pos < $2 AND {own} ORDER BY d.pos DESC LIMIT $3) \
         WHERE m.user_id = $1 \
         ORDER BY 3 DESC LIMIT $3"
    );
    let values = vec![user_id.into(), before.into(), limit.into()];
    crate::db::composed(text, values).map(conn, notified_row).await
}

pub(super) fn notified_row(row: &Row) -> Result<Notified> {
    let highlight: i64 = row.get(4)?;
    Ok(Notified {
        room_id: row.get(0)?,
        event_id: row.get(1)?,
        pos: row.get(2)?,
        thread: row.get(3)?,
        highlight: highlight > 0,
    })
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::test_support::plan;

    #[tokio::test]
    async fn not_all_members_are_looked_through_for_rules() {
        let plan = plan(&listeners_text(OWN_RULES), vec!["!r".into()]).await.unwrap();
        let wanted = "SEARCH m USING INDEX memberships_own_rules";
        assert!(plan.iter().any(|step| step.starts_with(wanted)), "{plan:?}");
    }

    #[tokio::test]
    async fn no_history_is_looked_through() {
        let plan = plan(&PARTS, vec!["@a:b".into(), vec!["!r".to_owned()].into()]).await.unwrap();
        for (wanted, often) in [
            ("SEARCH t USING INDEX timeline_numbers (room_id=? AND <expr>=? AND pos<?)", 2),
            ("SEARCH t USING INDEX timeline_uncounted (room_id=? AND pos>?)", 1),
            ("SEARCH n USING PRIMARY KEY (user_id=? AND room_id=? AND pos>? AND pos<?)", 4),
            ("SEARCH s USING PRIMARY KEY (room_id=? AND user_id=? AND stretch>?)", 2),
        ] {
            let found = plan.iter().filter(|step| step.starts_with(wanted));
            assert_eq!(found.count(), often, "{wanted}: {plan:#?}");
        }
    }
}

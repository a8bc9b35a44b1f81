//! Which events relate to which (`m.relates_to`).

mod threads;

pub use threads::{ThreadRow, ThreadSize, Threads, thread_sizes, threads};

use crate::{
    bulk,
    db::{Conn, Result, Row, Value, composed, sql},
    timeline::{Direction, ENTRY, Entry, Range, entry},
};

/// The events that relate to one, directly or by way of others.
#[derive(Clone, Copy, Debug)]
pub struct Related<'a> {
    /// The event that they relate to.
    pub parent_id: &'a str,
    /// Only by this `rel_type`, on every step of the way.
    pub rel_type: Option<&'a str>,
    /// Only events of this type, on every step of the way.
    pub kind: Option<&'a str>,
    /// How many steps away they are at most.
    pub depth: i64,
}

/// A page of the events in the timeline of a room that relate to one, ordered like
/// [`timeline::page`](crate::timeline::page).
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    conn: &mut Conn,
    room_id: &str,
    related: Related<'_>,
    range: Range,
    limit: i64,
) -> Result<Vec<Entry>> {
    let Range { from, after, until, .. } = range;
    let mut values: Vec<Value> = vec![
        room_id.into(),
        from.0.into(),
        from.1.into(),
        after.into(),
        until.into(),
        limit.into(),
        related.parent_id.into(),
    ];
    let mut only = String::new();
    for (column, wanted) in [("rel_type", related.rel_type), ("type", related.kind)] {
        let Some(wanted) = wanted else { continue };
        values.push(wanted.into());
        only.push_str(&format!(" AND r.{column} = ${}", values.len()));
    }
    let text = page_text(related.depth, &only, range.direction);
    composed(text, values).map(conn, |row| entry(row, 0)).await
}

/// A page of what relates by `only`, so many steps away at most. A cross join is what SQLite makes in the order of its
/// text; left to itself it may walk through the whole room instead.
fn page_text(depth: i64, only: &str, direction: Direction) -> String {
    let (compare, order) = direction.comparison();
    let beyond = format!(
        "t.event_id <> $7 AND (t.depth, t.pos) {compare} ($2, $3) AND t.pos > $4 AND t.pos <= $5"
    );
    if depth == 1 {
        return format!(
            "SELECT {ENTRY} FROM relations r CROSS JOIN timeline t \
             WHERE r.room_id = $1 AND r.parent_id = $7{only} AND r.depth {compare}= $2 \
             AND t.room_id = $1 AND t.event_id = r.event_id AND {beyond} \
             ORDER BY r.depth {order}, t.pos {order} LIMIT $6"
        );
    }
    // In old room versions servers choose the IDs of their events, and can make them relate to each other in circles:
    // the limit of the depth ends those.
    format!(
        "WITH RECURSIVE related (event_id, level) AS ( \
           SELECT r.event_id, 1 FROM relations r \
             WHERE r.room_id = $1 AND r.parent_id = $7{only} \
           UNION SELECT r.event_id, related.level + 1 FROM related CROSS JOIN relations r \
             WHERE r.room_id = $1 AND r.parent_id = related.event_id \
             AND related.level < {depth}{only}) \
         SELECT {ENTRY} FROM (SELECT DISTINCT event_id FROM related) c CROSS JOIN timeline t \
         WHERE t.room_id = $1 AND t.event_id = c.event_id AND {beyond} \
         ORDER BY t.depth {order}, t.pos {order} LIMIT $6"
    )
}

/// What events to aggregate.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    /// The room.
    pub room_id: &'a str,
    /// The events that they relate to.
    pub parents: &'a [String],
    /// Not by these senders.
    pub ignored: &'a [String],
    /// Only with at most this position.
    pub until: i64,
    /// How many of each parent at most.
    pub limit: i64,
}

/// An event that relates to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The event that it relates to.
    pub parent_id: String,
    /// The event.
    pub event_id: String,
    /// Its position.
    pub pos: i64,
}

/// How many relations are looked at before only the ways are asked for: most events have none.
const FEW: i64 = 200;

/// Those of the events to which others relate in a way that is aggregated, as `(parent_id, rel_type)`, each at least
/// once; others may be among them.
///
/// # Errors
///
/// When the database fails.
pub async fn rel_types(
    conn: &mut Conn,
    room_id: &str,
    parents: &[String],
) -> Result<Vec<(String, String)>> {
    let found = sql("SELECT parent_id, rel_type FROM relations \
         WHERE room_id = $1 AND parent_id = ANY($2) LIMIT $3")
    .bind(room_id)
    .bind(parents)
    .bind(FEW)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await?;
    if i64::try_from(found.len()).unwrap_or(FEW) < FEW {
        return Ok(found);
    }
    sql("SELECT p.event_id, a.rel_type FROM events p CROSS JOIN (SELECT 'm.replace' AS rel_type \
           UNION ALL SELECT 'm.reference' UNION ALL SELECT 'm.thread') a \
         WHERE p.room_id = $1 AND p.event_id = ANY($2) AND EXISTS (SELECT 1 FROM relations r \
           WHERE r.room_id = $1 AND r.rel_type = a.rel_type AND r.parent_id = p.event_id)")
    .bind(room_id)
    .bind(parents)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// Which relations are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelatedBy<'a> {
    /// In one of these ways; `None`: in any.
    pub rel_types: Option<&'a [String]>,
    /// By events of one of these senders; `None`: of any.
    pub senders: Option<&'a [String]>,
}

/// Those of the events to which others relate in this way.
///
/// # Errors
///
/// When the database fails.
pub async fn related_by(
    conn: &mut Conn,
    room_id: &str,
    parents: &[String],
    by: RelatedBy<'_>,
) -> Result<Vec<String>> {
    let mut values = vec![room_id.into(), parents.into()];
    let mut text = "SELECT DISTINCT r.parent_id FROM relations r \
                    WHERE r.room_id = $1 AND r.parent_id = ANY($2)"
        .to_owned();
    for (column, list) in [("rel_type", by.rel_types), ("sender", by.senders)] {
        if let Some(list) = list {
            values.push(list.into());
            text.push_str(&format!(" AND r.{column} = ANY(${})", values.len()));
        }
    }
    composed(text, values).map(conn, |row| row.get(0)).await
}

/// The events that relate directly to one and are not redacted, in one of these ways or in any, at most
/// `limit` of them.
///
/// # Errors
///
/// When the database fails.
pub async fn children(
    conn: &mut Conn,
    room_id: &str,
    parent_id: &str,
    rel_types: Option<&[String]>,
    limit: i64,
) -> Result<Vec<String>> {
    let mut values = vec![room_id.into(), parent_id.into(), limit.into()];
    let mut only = String::new();
    if let Some(rel_types) = rel_types {
        values.push(rel_types.into());
        only.push_str(" AND r.rel_type = ANY($4)");
    }
    let text = format!(
        "SELECT r.event_id FROM relations r WHERE r.room_id = $1 AND r.parent_id = $2{only} \
         ORDER BY r.event_id LIMIT $3"
    );
    composed(text, values).map(conn, |row| row.get(0)).await
}

/// For each parent those events that replace it by their form: of its sender and type, no state. The
/// newest by their own time come first.
///
/// # Errors
///
/// When the database fails.
pub async fn replacements(conn: &mut Conn, children: Children<'_>) -> Result<Vec<Child>> {
    first(conn, children, REPLACEMENTS).await
}

const REPLACEMENTS: First = First {
    rel_type: "m.replace",
    by: "r.origin_server_ts",
    order: "place DESC, event_id DESC",
    from: "CROSS JOIN events e CROSS JOIN events p",
    only: "AND e.event_id = r.event_id AND e.room_id = r.room_id AND e.state_key IS NULL \
     AND p.event_id = r.parent_id AND p.room_id = r.room_id AND p.state_key IS NULL \
     AND p.sender = r.sender AND p.type = r.type",
};

/// For each parent the events that reference it, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn references(conn: &mut Conn, children: Children<'_>) -> Result<Vec<Child>> {
    first(conn, children, REFERENCES).await
}

const REFERENCES: First =
    First { rel_type: "m.reference", by: "r.depth", order: "place, pos", from: "", only: "" };

/// For each parent the events in its thread, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn newest_in_threads(conn: &mut Conn, children: Children<'_>) -> Result<Vec<Child>> {
    first(conn, children, NEWEST_IN_THREADS).await
}

const NEWEST_IN_THREADS: First = First {
    rel_type: "m.thread",
    by: "r.depth",
    order: "place DESC, pos DESC",
    from: "",
    only: "",
};

/// Which children of a parent come first.
#[derive(Clone, Copy, Debug)]
struct First {
    rel_type: &'static str,
    /// By what they are ordered before all ...
    by: &'static str,
    /// ... and how.
    order: &'static str,
    /// More tables.
    from: &'static str,
    /// More conditions.
    only: &'static str,
}

impl First {
    /// At most `$5` children of the parent `$2`. An index has them in their order, so that nobody looks at the others,
    /// of which there may be thousands.
    fn of_one(self) -> String {
        let Self { rel_type, by, order, from, only } = self;
        format!(
            "SELECT r.parent_id, r.event_id AS event_id, t.pos AS pos, {by} AS place \
             FROM relations r CROSS JOIN timeline t {from} \
             WHERE r.room_id = $1 AND r.parent_id = $2 AND r.rel_type = '{rel_type}' \
             AND r.sender <> ALL($3) AND t.event_id = r.event_id AND t.room_id = r.room_id \
             AND t.pos <= $4 {only} ORDER BY {order} LIMIT $5"
        )
    }
}

/// The first children of each parent; those of different parents may stand between each other.
async fn first(conn: &mut Conn, children: Children<'_>, first: First) -> Result<Vec<Child>> {
    let Children { room_id, parents, ignored, until, limit } = children;
    let mut found = Vec::new();
    for (each, values) in
        of_each(&first.of_one(), room_id, parents, &[ignored.into(), until.into(), limit.into()])
    {
        let text = format!("SELECT * FROM ({each}) c ORDER BY {}", first.order);
        let child = |row: &Row| {
            Ok(Child { parent_id: row.get(0)?, event_id: row.get(1)?, pos: row.get(2)? })
        };
        found.extend(composed(text, values).map(conn, child).await?);
    }
    Ok(found)
}

/// Of how many parents one statement asks at most.
const AT_ONCE: usize = 16;

/// Statements, with their values, that ask of each parent what `of_one` asks of the one that is `$2` in the room `$1`,
/// with three more values. Several parents share a statement, since each is a round trip to PostgreSQL; their numbers
/// are powers of two, so that drivers can keep the few statements that there are.
fn of_each<'a>(
    of_one: &'a str,
    room_id: &'a str,
    mut parents: &'a [String],
    more: &'a [Value; 3],
) -> impl Iterator<Item = (String, Vec<Value>)> {
    std::iter::from_fn(move || {
        let count = bulk::largest_step(parents.len().min(AT_ONCE));
        let (these, rest) = parents.split_at_checked(count)?;
        let (first, others) = these.split_first()?;
        parents = rest;
        let mut values = vec![room_id.into(), first.as_str().into()];
        values.extend_from_slice(more);
        values.extend(others.iter().map(|parent| parent.as_str().into()));
        let numbers = [2].into_iter().chain(6..).take(count);
        let each = numbers.map(|number| {
            format!("SELECT * FROM ({}) p{number}", of_one.replace("$2", &format!("${number}")))
        });
        Some((each.collect::<Vec<_>>().join(" UNION ALL "), values))
    })
}

/// The events of a type by which a user relates to an event in a way.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(
    conn: &mut Conn,
    room_id: &str,
    related: Related<'_>,
    user_id: &str,
    limit: i64,
) -> Result<Vec<String>> {
    sql("SELECT event_id FROM relations WHERE room_id = $1 AND parent_id = $2 AND sender = $3 \
         AND rel_type = $4 AND type = $5 LIMIT $6")
    .bind(room_id)
    .bind(related.parent_id)
    .bind(user_id)
    .bind(related.rel_type.unwrap_or_default())
    .bind(related.kind.unwrap_or_default())
    .bind(limit)
    .map(conn, |row| row.get(0))
    .await
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::test_support::plan;

    #[tokio::test]
    async fn the_first_are_found_without_the_others() {
        let parents = ["$one".to_owned(), "$two".to_owned()];
        let more = [Vec::<String>::new().into(), i64::MAX.into(), 5_i64.into()];
        for (first, index) in [
            (REPLACEMENTS, "INDEX relations_replaced (room_id=? AND parent_id=?)"),
            (REFERENCES, "INDEX relations_place (room_id=? AND rel_type=? AND parent_id=?)"),
            (NEWEST_IN_THREADS, "INDEX relations_place (room_id=? AND rel_type=? AND parent_id=?)"),
        ] {
            let of_one = first.of_one();
            let (each, values) = of_each(&of_one, "!room", &parents, &more).next().unwrap();
            let plan = plan(&each, values).await.unwrap();
            let searched =
                plan.iter().filter(|it| it.starts_with("SEARCH r ") && it.ends_with(index));
            assert_eq!(searched.count(), 2, "{plan:?}");
            assert!(!plan.contains(&"USE TEMP B-TREE FOR ORDER BY".to_owned()), "{plan:?}");
        }
    }

    #[test]
    fn parents_share_statements() {
        let parents: Vec<String> = (0..21).map(|number| number.to_string()).collect();
        let more = [7_i64.into(), 8_i64.into(), 9_i64.into()];
        let found: Vec<_> = of_each("$1 $2 $5", "!room", &parents, &more).collect();
        let sizes: Vec<_> = found.iter().map(|(_, values)| values.len() - more.len() - 1).collect();
        assert_eq!(sizes, [16, 4, 1]);
        let (text, values) = &found[1];
        let each = ["$1 $2 $5) p2", "$1 $6 $5) p6", "$1 $7 $5) p7", "$1 $8 $5) p8"];
        assert_eq!(*text, each.map(|it| format!("SELECT * FROM ({it}")).join(" UNION ALL "));
        let [room, first, others @ ..] = ["!room", "16", "17", "18", "19"].map(Value::from);
        let wanted: Vec<Value> = [room, first].into_iter().chain(more).chain(others).collect();
        assert_eq!(format!("{values:?}"), format!("{wanted:?}"));
    }

    #[tokio::test]
    async fn what_relates_by_way_of_others_is_found_step_by_step() {
        let plan = plan(&page_text(3, "", Direction::Backward), vec![]).await.unwrap();
        let of_parent = plan.iter().filter(|step| step.ends_with("(room_id=? AND parent_id=?)"));
        assert_eq!(of_parent.count(), 2, "{plan:?}");
    }
}

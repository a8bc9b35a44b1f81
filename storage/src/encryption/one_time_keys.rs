//! One-time keys, of which each is handed out once, and fallback keys for when there are none.

use std::collections::BTreeMap;

use crate::db::{Conn, Result, Row, sql};

/// How many keys that were handed out are remembered for each device and algorithm, at least.
const REMEMBERED: i64 = 500;

/// After how many new keys of a device those are forgotten that need not be remembered: all of them are looked at.
const FORGET_EVERY: i64 = 64;

/// A one-time or fallback key of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRow {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Such as `signed_curve25519`.
    pub algorithm: String,
    /// What follows the algorithm in the key's name.
    pub key_id: String,
    /// The place in the order of uploads; of no meaning for a fallback key.
    pub ordinal: i64,
    /// Whether it was handed out.
    pub claimed: bool,
    /// The key, a JSON value.
    pub json: String,
}

/// Rows of these tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a one-time key, in place of one of that name that was handed out.
    Add(KeyRow),
    /// Sets the fallback key of an algorithm.
    Fallback(KeyRow),
    /// A fallback key was handed out.
    FallbackUsed(KeyRow),
}

pub(super) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    match write {
        Write::Add(key) => add(conn, key).await,
        Write::Fallback(k) => sql("INSERT INTO fallback_keys \
             (user_id, device_id, algorithm, key_id, used, json) \
             SELECT user_id, device_id, $3, $4, 0, $5 FROM devices \
             WHERE user_id = $1 AND device_id = $2 \
             ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET \
             key_id = excluded.key_id, used = 0, json = excluded.json")
        .bind(k.user_id)
        .bind(k.device_id)
        .bind(k.algorithm)
        .bind(k.key_id)
        .bind(k.json)
        .execute(conn)
        .await
        .map(drop),
        Write::FallbackUsed(k) => sql("UPDATE fallback_keys SET used = 1 \
             WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 AND key_id = $4")
        .bind(k.user_id)
        .bind(k.device_id)
        .bind(k.algorithm)
        .bind(k.key_id)
        .execute(conn)
        .await
        .map(drop),
    }
}

async fn add(conn: &mut Conn, key: KeyRow) -> Result<()> {
    sql("INSERT INTO one_time_keys \
         (user_id, device_id, algorithm, key_id, ordinal, claimed, json) \
         SELECT user_id, device_id, $3, $4, $5, 0, $6 FROM devices \
         WHERE user_id = $1 AND device_id = $2 \
         ON CONFLICT (user_id, device_id, algorithm, key_id) DO UPDATE SET \
         ordinal = excluded.ordinal, claimed = 0, json = excluded.json")
    .bind(&key.user_id)
    .bind(&key.device_id)
    .bind(&key.algorithm)
    .bind(&key.key_id)
    .bind(key.ordinal)
    .bind(&key.json)
    .execute(conn)
    .await?;
    if key.ordinal % FORGET_EVERY != 0 {
        return Ok(());
    }
    sql("DELETE FROM one_time_keys WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 \
         AND claimed = 1 AND ordinal < $4")
    .bind(key.user_id)
    .bind(key.device_id)
    .bind(key.algorithm)
    .bind(key.ordinal - REMEMBERED)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn forget(
    conn: &mut Conn,
    user_id: &str,
    device_id: Option<&str>,
    except: &str,
) -> Result<()> {
    let texts = match device_id {
        Some(_) => [
            "DELETE FROM one_time_keys WHERE user_id = $1 AND device_id = $2",
            "DELETE FROM fallback_keys WHERE user_id = $1 AND device_id = $2",
        ],
        None => [
            "DELETE FROM one_time_keys WHERE user_id = $1 AND device_id <> $2",
            "DELETE FROM fallback_keys WHERE user_id = $1 AND device_id <> $2",
        ],
    };
    for text in texts {
        sql(text).bind(user_id).bind(device_id.unwrap_or(except)).execute(conn).await?;
    }
    Ok(())
}

/// Hands a key out; `false` when it was before.
pub(crate) async fn claim(conn: &mut Conn, key: &KeyRow) -> Result<bool> {
    let changed = sql("UPDATE one_time_keys SET claimed = 1 WHERE user_id = $1 \
         AND device_id = $2 AND algorithm = $3 AND key_id = $4 AND claimed = 0")
    .bind(&key.user_id)
    .bind(&key.device_id)
    .bind(&key.algorithm)
    .bind(&key.key_id)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

fn from_row(row: &Row) -> Result<KeyRow> {
    Ok(KeyRow {
        user_id: row.get(0)?,
        device_id: row.get(1)?,
        algorithm: row.get(2)?,
        key_id: row.get(3)?,
        ordinal: row.get(4)?,
        claimed: row.get(5)?,
        json: row.get(6)?,
    })
}

/// The one-time keys of a device of those names, handed out or not.
///
/// # Errors
///
/// When the database fails.
pub async fn named(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
    key_ids: &[String],
) -> Result<Vec<KeyRow>> {
    sql("SELECT user_id, device_id, algorithm, key_id, ordinal, claimed, json FROM one_time_keys \
         WHERE user_id = $1 AND device_id = $2 AND key_id = ANY($3)")
    .bind(user_id)
    .bind(device_id)
    .bind(key_ids)
    .map(conn, from_row)
    .await
}

/// The highest place in the order of a device's keys, handed out or not.
///
/// # Errors
///
/// When the database fails.
pub async fn last_ordinal(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<i64> {
    let row = sql("SELECT COALESCE(MAX(ordinal), 0) FROM one_time_keys \
         WHERE user_id = $1 AND device_id = $2")
    .bind(user_id)
    .bind(device_id)
    .optional(conn)
    .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// The next one-time keys of an algorithm that a device has, at most `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn next(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
    algorithm: &str,
    limit: i64,
) -> Result<Vec<KeyRow>> {
    sql("SELECT user_id, device_id, algorithm, key_id, ordinal, claimed, json FROM one_time_keys \
         WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 AND claimed = 0 \
         ORDER BY ordinal LIMIT $4")
    .bind(user_id)
    .bind(device_id)
    .bind(algorithm)
    .bind(limit)
    .map(conn, from_row)
    .await
}

/// How many one-time keys a device has left, by algorithm. An algorithm of which all were handed out
/// counts 0.
///
/// # Errors
///
/// When the database fails.
pub async fn count(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<Vec<(String, i64)>> {
    let supply = supply(conn, user_id, device_id).await?;
    Ok(supply.into_iter().filter_map(|row| Some((row.algorithm, row.left?))).collect())
}

/// What a device has of an algorithm for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupplyRow {
    /// The algorithm.
    pub algorithm: String,
    /// How many one-time keys are left; `None`: it has a fallback key that was not used.
    pub left: Option<i64>,
}

/// What a device has for others, by algorithm.
///
/// Each /sync asks for it: keys that were handed out, of which there are many more than of the others, are not
/// looked at, but for the first and the last algorithm of all, which may have no key left. The specification has two.
///
/// # Errors
///
/// When the database fails.
pub async fn supply(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<Vec<SupplyRow>> {
    let rows: Vec<(String, Option<i64>)> = sql(SUPPLY)
        .bind(user_id)
        .bind(device_id)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await?;
    let mut left = BTreeMap::<_, i64>::new();
    let mut supply = Vec::new();
    for (algorithm, keys) in rows {
        match keys {
            Some(keys) => *left.entry(algorithm).or_default() += keys,
            None => supply.push(SupplyRow { algorithm, left: None }),
        }
    }
    let left = left.into_iter();
    supply.extend(left.map(|(algorithm, left)| SupplyRow { algorithm, left: Some(left) }));
    Ok(supply)
}

const SUPPLY: &str = "SELECT algorithm, COUNT(*) FROM one_time_keys \
       WHERE user_id = $1 AND device_id = $2 AND claimed = 0 GROUP BY algorithm \
     UNION ALL SELECT f.algorithm, 0 FROM (SELECT algorithm FROM one_time_keys \
       WHERE user_id = $1 AND device_id = $2 ORDER BY algorithm LIMIT 1) f \
     UNION ALL SELECT l.algorithm, 0 FROM (SELECT algorithm FROM one_time_keys \
       WHERE user_id = $1 AND device_id = $2 ORDER BY algorithm DESC LIMIT 1) l \
     UNION ALL SELECT algorithm, CAST(NULL AS BIGINT) FROM fallback_keys \
       WHERE user_id = $1 AND device_id = $2 AND used = 0";

/// The fallback keys of a device; `claimed` says whether one was used.
///
/// # Errors
///
/// When the database fails.
pub async fn fallback(conn: &mut Conn, user_id: &str, device_id: &str) -> Result<Vec<KeyRow>> {
    sql("SELECT user_id, device_id, algorithm, key_id, CAST(0 AS BIGINT), used, json \
         FROM fallback_keys WHERE user_id = $1 AND device_id = $2 ORDER BY algorithm")
    .bind(user_id)
    .bind(device_id)
    .map(conn, from_row)
    .await
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::{
        db::Db,
        migrations,
        test_support::{TempDatabase, plan},
    };

    fn key(algorithm: &str, ordinal: i64) -> KeyRow {
        KeyRow {
            user_id: "@a:b".to_owned(),
            device_id: "D".to_owned(),
            algorithm: algorithm.to_owned(),
            key_id: format!("K{ordinal}"),
            ordinal,
            claimed: false,
            json: "{}".to_owned(),
        }
    }

    #[tokio::test]
    async fn what_is_left_is_counted_and_what_was_handed_out_forgotten() {
        for database in TempDatabase::all().await.unwrap() {
            let db = Db::open(&database.url, 2).await.unwrap();
            migrations::run(&db).await.unwrap();
            let mut conn = db.write().await.unwrap();
            let device =
                "INSERT INTO devices (user_id, device_id, created_ts) VALUES ('@a:b', 'D', 0)";
            sql(device).execute(&mut conn).await.unwrap();
            for (algorithm, keys, handed_out) in [("a", 3, 3), ("b", 700, 690), ("c", 2, 0)] {
                for ordinal in 1..=keys {
                    add(&mut conn, key(algorithm, ordinal)).await.unwrap();
                    if ordinal <= handed_out {
                        assert!(claim(&mut conn, &key(algorithm, ordinal)).await.unwrap());
                    }
                }
            }
            let left = [("a", 0), ("b", 10), ("c", 2)].map(|(name, left)| (name.to_owned(), left));
            assert_eq!(count(&mut conn, "@a:b", "D").await.unwrap(), left);
            let supply = supply(&mut conn, "@a:b", "D").await.unwrap();
            let supply = supply.into_iter().map(|row| (row.algorithm, row.left.unwrap()));
            assert_eq!(supply.collect::<Vec<_>>(), left);
            assert_eq!(count(&mut conn, "@a:b", "E").await.unwrap(), []);
            let claimed = sql("SELECT COUNT(*) FROM one_time_keys WHERE claimed = 1");
            let kept: i64 = claimed.optional(&mut conn).await.unwrap().unwrap().get(0).unwrap();
            assert!((REMEMBERED..REMEMBERED + FORGET_EVERY + 3).contains(&kept), "{kept}");
            conn.commit().await.unwrap();
            db.close().await;
            database.remove().await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_index_leads_to_what_is_left() {
        let plan = plan(SUPPLY, vec![]).await.unwrap();
        let wanted = [
            "SEARCH one_time_keys USING COVERING INDEX one_time_keys_order (user_id=? AND device_id=?)",
            "SEARCH one_time_keys USING PRIMARY KEY (user_id=? AND device_id=?)",
        ];
        let found = wanted.map(|step| plan.iter().filter(|it| *it == step).count());
        assert_eq!(found, [1, 2], "{plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
    }
}

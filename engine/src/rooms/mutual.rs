//! The rooms that two users are in together.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms>

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::{OwnedRoomId, UserId};
use serde::Serialize;
use starling_storage::memberships;

use crate::{Engine, internal::Internal};

/// How many rooms a page holds.
const PAGE: usize = 100;

/// A page of rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The rooms, in the order of their IDs.
    pub joined: Vec<String>,
    /// How many there are in all.
    pub count: i64,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum MutualError {
    /// Everybody shares all rooms with themselves.
    #[error("this is the user who asks")]
    OwnId,
    /// The token is none.
    #[error("the token is not one of this list")]
    BadToken,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A page of the rooms that both users are joined to; none when nobody knows the other user.
///
/// # Errors
///
/// See [`MutualError`].
pub async fn page(
    engine: &Engine,
    user_id: &UserId,
    other: &UserId,
    from: Option<&str>,
) -> Result<Page, MutualError> {
    if user_id == other {
        return Err(MutualError::OwnId);
    }
    let after = from.map(parse).transpose()?.unwrap_or_default();
    let (user_id, other) = (user_id.as_str(), other.as_str());
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let most = PAGE as i64 + 1;
    let rooms = memberships::shared_rooms_after(&mut conn, user_id, other, &after, most).await;
    let mut joined = rooms.map_err(Internal::from)?;
    let count = memberships::count_shared_rooms(&mut conn, user_id, other).await;
    let count = count.map_err(Internal::from)?;
    let is_last = joined.len() <= PAGE;
    joined.truncate(PAGE);
    let last = joined.last().filter(|_| !is_last);
    Ok(Page { next_batch: last.map(|room_id| URL_SAFE_NO_PAD.encode(room_id)), joined, count })
}

/// The room at which a page ended.
fn parse(token: &str) -> Result<String, MutualError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| MutualError::BadToken)?;
    let room_id = String::from_utf8(bytes).map_err(|_| MutualError::BadToken)?;
    let room_id = OwnedRoomId::try_from(room_id).map_err(|_| MutualError::BadToken)?;
    Ok(room_id.into())
}

#[cfg(test)]
mod tests {
    use starling_storage::{
        Change, Fact,
        memberships::{MembershipRow, Write},
    };

    use super::*;
    use crate::test_support::{on_each_database, user};

    #[tokio::test]
    async fn a_long_list_comes_in_pages() {
        on_each_database(async |engine| {
            let (alice, bob) = (user(&engine, "alice"), user(&engine, "bob"));
            let mut change = Change::new();
            let rooms: Vec<String> = (0..205).map(|it| format!("!{it:03}:x.org")).collect();
            for (number, room_id) in rooms.iter().enumerate() {
                let at = change.fact(Fact::Devices { user_id: alice.to_string() });
                for user_id in [&alice, &bob] {
                    // Bob has left the last room.
                    let left = user_id == &bob && number == 204;
                    let row = MembershipRow {
                        user_id: user_id.to_string(),
                        room_id: room_id.clone(),
                        membership: if left { "leave" } else { "join" }.to_owned(),
                        local: true,
                        ..MembershipRow::default()
                    };
                    change.write(Write::Put { row, at });
                }
            }
            engine.storage.commit(change).await.unwrap();
            let (mut seen, mut from) = (Vec::new(), None);
            loop {
                let page = page(&engine, &alice, &bob, from.as_deref()).await.unwrap();
                assert_eq!(page.count, 204);
                assert!(page.joined.len() <= PAGE);
                seen.extend(page.joined);
                from = page.next_batch;
                if from.is_none() {
                    break;
                }
            }
            assert_eq!(seen, rooms[..204]);
            let nobody = page(&engine, &alice, &user(&engine, "nobody"), None).await.unwrap();
            assert_eq!(nobody, Page { joined: vec![], count: 0, next_batch: None });
            for token in ["", "x", "%", "eA"] {
                let refused = page(&engine, &alice, &bob, Some(token)).await;
                assert!(matches!(refused, Err(MutualError::BadToken)), "{token}");
            }
        })
        .await;
    }
}

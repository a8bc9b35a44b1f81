//! The content of membership events.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mroommember>

use ruma::{OwnedUserId, UserId};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use starling_storage::account_data;

use crate::{Engine, internal::Internal};

/// Fields that the server decides, whatever a client puts into the rest of a content.
const RESERVED: [&str; 2] = ["membership", "join_authorised_via_users_server"];

/// What a membership event says.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Why, in somebody's words.
    pub reason: Option<String>,
    /// For invites: that it is to a conversation of two.
    pub is_direct: bool,
    /// For joins of restricted rooms: who lets the user in.
    pub authorised_by: Option<OwnedUserId>,
    /// Further fields that a client put there.
    pub more: Map<String, Value>,
}

impl Member {
    /// The content for a membership of a user; their profile is part of what lets others know them.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn content(
        &self,
        engine: &Engine,
        user_id: &UserId,
        membership: &str,
    ) -> Result<Box<RawValue>, Internal> {
        let mut content = Map::new();
        if matches!(membership, "join" | "invite" | "knock") {
            content.extend(profile(engine, user_id).await?);
        }
        content.extend(self.more.clone());
        content.retain(|field, _| !RESERVED.contains(&field.as_str()));
        content.insert("membership".to_owned(), membership.into());
        if let Some(reason) = &self.reason {
            content.insert("reason".to_owned(), reason.as_str().into());
        }
        if self.is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        if let Some(user_id) = &self.authorised_by {
            let field = "join_authorised_via_users_server";
            content.insert(field.to_owned(), user_id.as_str().into());
        }
        Ok(to_raw_value(&content)?)
    }
}

/// The display name and avatar of a user of ours; nothing is known of others.
async fn profile(engine: &Engine, user_id: &UserId) -> Result<Map<String, Value>, Internal> {
    if user_id.server_name() != engine.config.server_name {
        return Ok(Map::new());
    }
    let mut conn = engine.storage.read().await?;
    let fields = account_data::profile(&mut conn, user_id.as_str()).await?;
    let shown =
        fields.into_iter().filter(|(field, _)| matches!(&**field, "displayname" | "avatar_url"));
    shown.map(|(field, value)| Ok((field, serde_json::from_str(&value)?))).collect()
}

//! Whose invites a user takes: what their account data say about it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#invite-permission>, and lists of users and servers
//! after <https://github.com/matrix-org/matrix-spec-proposals/pull/4155>.

use std::collections::HashSet;

use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::Value;
use starling_storage::{Conn, account_data};

use crate::{
    Engine,
    internal::Internal,
    reading::access::ignored_users,
    rooms::server_acl::{globs, matches},
};

/// Whether a user wants invites at all.
const KIND: &str = "m.invite_permission_config";

/// Whose invites they want.
const LISTS_KIND: &str = "org.matrix.msc4155.invite_permission_config";

/// What becomes of an invite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The user is shown it.
    #[default]
    Shown,
    /// It is taken, and the user is not shown it. Who invites does not learn of that.
    Hidden,
    /// It is refused.
    Refused,
}

/// Whose invites a user takes.
#[derive(Clone, Debug, Default)]
pub struct Permission {
    refuses_all: bool,
    /// For users and then for servers: who is shown, hidden, refused.
    lists: [(List, Verdict); 6],
}

#[derive(Clone, Debug, Default)]
struct List {
    globs: Vec<String>,
    of_servers: bool,
}

/// The lists in the order in which they count.
const LISTS: [(&str, Verdict); 6] = [
    ("allowed_users", Verdict::Shown),
    ("ignored_users", Verdict::Hidden),
    ("blocked_users", Verdict::Refused),
    ("allowed_servers", Verdict::Shown),
    ("ignored_servers", Verdict::Hidden),
    ("blocked_servers", Verdict::Refused),
];

impl Permission {
    /// What the account data of a user say.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn read(conn: &mut Conn, user_id: &UserId) -> Result<Self, Internal> {
        let config = account_data::get(conn, user_id.as_str(), "", KIND).await?;
        let lists = account_data::get(conn, user_id.as_str(), "", LISTS_KIND).await?;
        Ok(Self::of(config.as_deref(), lists.as_deref()))
    }

    /// What account data with these contents say. What is malformed says nothing.
    fn of(config: Option<&str>, lists: Option<&str>) -> Self {
        #[derive(Deserialize)]
        struct Config {
            default_action: String,
        }
        let config = config.and_then(|json| serde_json::from_str::<Config>(json).ok());
        let lists = lists.and_then(|json| serde_json::from_str::<Value>(json).ok());
        let lists = lists.filter(|lists| lists.get("enabled") != Some(&Value::Bool(false)));
        let lists = lists.unwrap_or_default();
        let list = |(field, verdict): (&str, Verdict)| {
            let globs = lists.get(field).map(globs).unwrap_or_default();
            (List { globs, of_servers: field.ends_with("_servers") }, verdict)
        };
        Self {
            refuses_all: config.is_some_and(|config| config.default_action == "block"),
            lists: LISTS.map(list),
        }
    }

    /// What becomes of an invite by this user.
    #[must_use]
    pub fn judge(&self, sender: &UserId) -> Verdict {
        if self.refuses_all {
            return Verdict::Refused;
        }
        let user = sender.as_str().to_lowercase();
        let server = sender.server_name().as_str().to_lowercase();
        let found = self.lists.iter().find(|(list, _)| {
            let name = if list.of_servers { &server } else { &user };
            list.globs.iter().any(|glob| matches(glob, name))
        });
        found.map_or(Verdict::Shown, |(_, verdict)| *verdict)
    }

    /// Whether the user is shown an invite by this user, when those are whom they ignore. What is no
    /// user ID invites nobody.
    #[must_use]
    pub fn shows(&self, sender: &str, ignored: &HashSet<OwnedUserId>) -> bool {
        <&UserId>::try_from(sender)
            .is_ok_and(|it| !ignored.contains(it) && self.judge(it) == Verdict::Shown)
    }
}

/// Whether a user of ours refuses the invites of another.
///
/// # Errors
///
/// When the database fails.
pub async fn refuses(engine: &Engine, user_id: &UserId, sender: &UserId) -> Result<bool, Internal> {
    Ok(verdict(engine, user_id, sender).await? == Verdict::Refused)
}

/// What becomes of an invite of a user of ours by another.
///
/// # Errors
///
/// When the database fails.
pub async fn verdict(
    engine: &Engine,
    user_id: &UserId,
    sender: &UserId,
) -> Result<Verdict, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(Permission::read(&mut conn, user_id).await?.judge(sender))
}

/// Whether a user of ours is not to be shown the invites of another.
///
/// # Errors
///
/// When the database fails.
pub async fn hides(conn: &mut Conn, user_id: &UserId, sender: &UserId) -> Result<bool, Internal> {
    let permission = Permission::read(conn, user_id).await?;
    Ok(!permission.shows(sender.as_str(), &ignored_users(conn, user_id).await?))
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use super::*;

    fn judge(lists: &Value, sender: &UserId) -> Verdict {
        Permission::of(None, Some(&lists.to_string())).judge(sender)
    }

    #[test]
    fn users_count_before_servers_and_what_is_allowed_before_what_is_not() {
        let (bob, eve) = (user_id!("@bob:b.org"), user_id!("@eve:b.org"));
        let lists = json!({
            "allowed_users": ["@bob:b.org"], "ignored_users": ["@bob:*"],
            "blocked_servers": ["?.org"],
        });
        assert_eq!((judge(&lists, bob), judge(&lists, eve)), (Verdict::Shown, Verdict::Refused));
        let lists = json!({ "ignored_users": ["@e*"], "allowed_servers": ["b.org"] });
        assert_eq!((judge(&lists, bob), judge(&lists, eve)), (Verdict::Shown, Verdict::Hidden));
        let lists = json!({ "enabled": false, "blocked_users": ["*"] });
        assert_eq!(judge(&lists, bob), Verdict::Shown);
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        let bob = user_id!("@bob:b.org");
        for lists in [
            json!({ "blocked_users": null, "blocked_servers": { "b.org": 1 } }),
            json!({ "blocked_users": [1, null], "ignored_users": "@bob:b.org" }),
            json!([]),
            json!(null),
        ] {
            assert_eq!(judge(&lists, bob), Verdict::Shown, "{lists}");
        }
        let says = |config: &str| Permission::of(Some(config), None).judge(bob);
        assert_eq!(says(r#"{"default_action":"block"}"#), Verdict::Refused);
        assert_eq!(says(r#"{"default_action":"allow"}"#), Verdict::Shown);
        assert_eq!(says(r#"{"default_action":7}"#), Verdict::Shown);
    }
}

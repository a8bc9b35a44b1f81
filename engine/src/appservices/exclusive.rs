//! What is left to application services alone.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions>

use ruma::{RoomAliasId, UserId};

use super::{ApplicationService, ApplicationServices};

/// Whether somebody may make a user: an application service those that are its own, everybody else (and
/// it too) only those that no other one keeps for itself.
#[must_use]
pub fn allows_user(
    services: &ApplicationServices,
    by: Option<&ApplicationService>,
    user_id: &UserId,
) -> bool {
    by.is_none_or(|service| service.has_user(user_id))
        && !services.iter().any(|other| Some(&**other) != by && other.keeps_user(user_id))
}

/// The same of making and removing an alias.
#[must_use]
pub fn allows_alias(
    services: &ApplicationServices,
    by: Option<&ApplicationService>,
    alias: &RoomAliasId,
) -> bool {
    by.is_none_or(|service| service.has_alias(alias))
        && !services.iter().any(|other| Some(&**other) != by && other.keeps_alias(alias))
}

#[cfg(test)]
mod tests {
    use ruma::{room_alias_id, server_name, user_id};

    use super::*;
    use crate::appservices::{Claimed, Registration};

    fn services() -> ApplicationServices {
        let service = |id: &str, exclusive| {
            let claimed = |sigil: &str| vec![Claimed { regex: format!("{sigil}{id}_"), exclusive }];
            let registration = Registration {
                id: id.to_owned(),
                as_token: id.to_owned(),
                hs_token: id.to_owned(),
                sender_localpart: format!("{id}bot"),
                users: claimed("@"),
                aliases: claimed("#"),
                ..Registration::default()
            };
            ApplicationService::new(registration, server_name!("x.org")).unwrap()
        };
        ApplicationServices::new(vec![service("irc", true), service("log", false)]).unwrap()
    }

    #[test]
    fn names_are_kept_from_others() {
        let services = services();
        let irc = services.by_token("irc").map(|it| &**it);
        let log = services.by_token("log").map(|it| &**it);
        for (user, nobody, by_irc, by_log) in [
            (user_id!("@irc_a:x.org"), false, true, false),
            (user_id!("@ircbot:x.org"), false, true, false),
            (user_id!("@log_a:x.org"), true, false, true),
            (user_id!("@logbot:x.org"), false, false, true),
            (user_id!("@alice:x.org"), true, false, false),
        ] {
            assert_eq!(allows_user(&services, None, user), nobody, "{user}");
            assert_eq!(allows_user(&services, irc, user), by_irc, "{user}");
            assert_eq!(allows_user(&services, log, user), by_log, "{user}");
        }
        for (alias, nobody, by_irc) in [
            (room_alias_id!("#irc_a:x.org"), false, true),
            (room_alias_id!("#log_a:x.org"), true, false),
            (room_alias_id!("#a:x.org"), true, false),
        ] {
            assert_eq!(allows_alias(&services, None, alias), nobody, "{alias}");
            assert_eq!(allows_alias(&services, irc, alias), by_irc, "{alias}");
        }
    }
}

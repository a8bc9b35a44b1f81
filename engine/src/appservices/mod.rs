//! Application services: bridges and bots that the administrator has registered, which act for the users
//! in their namespaces and are told what happens there.
//!
//! What one is ([`service`]), what is left to it alone ([`exclusive`]), how it is asked something ([`ask`]):
//! whether it is there ([`ping`]), for users and rooms that it makes ([`queries`]), and what there is in the
//! networks that it leads to ([`networks`]). How it acts for its users is in
//! [`crate::accounts::masquerade`].
//!
//! <https://spec.matrix.org/v1.19/application-service-api/>

pub mod ask;
pub mod exclusive;
pub mod networks;
pub mod ping;
pub(crate) mod queries;
pub mod service;

use std::{collections::HashMap, fmt, sync::Arc};

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

pub use self::service::{ApplicationService, Claimed, Registration, RegistrationError};

/// How many questions are open at a time.
const ASKING: usize = 64;

/// Of how many networks it is remembered what they are.
const MOST_PROTOCOLS: u64 = 1_000;

/// What this process remembers of application services.
pub struct Memory {
    asking: Semaphore,
    protocols: Cache<(String, String), networks::Remembered>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { asking: Semaphore::new(ASKING), protocols: Cache::new(MOST_PROTOCOLS) }
    }
}

/// All application services of a deployment. Cheap to clone.
#[derive(Clone, Default)]
pub struct ApplicationServices(Arc<Registered>);

#[derive(Default)]
struct Registered {
    all: Vec<Arc<ApplicationService>>,
    /// By the hash of their `as_token`: comparing tells nothing about a token by its timing.
    by_token: HashMap<[u8; 32], usize>,
}

impl fmt::Debug for ApplicationServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.all).finish()
    }
}

/// Two registrations that cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum Clash {
    /// They have the same name.
    #[error("two application services have the `id` {0:?}")]
    Id(String),
    /// They have the same token.
    #[error("the application services {0:?} and {1:?} have the same `as_token`")]
    Token(String, String),
    /// They have the same user.
    #[error("the application services {0:?} and {1:?} have the same `sender_localpart`")]
    Sender(String, String),
}

impl ApplicationServices {
    /// Puts registrations together.
    ///
    /// # Errors
    ///
    /// [`Clash`] when two cannot be told apart.
    pub fn new(all: Vec<ApplicationService>) -> Result<Self, Clash> {
        let mut registered = Registered::default();
        for service in all {
            let token = hash(&service.as_token);
            for other in &registered.all {
                if other.id == service.id {
                    return Err(Clash::Id(service.id));
                }
                if other.as_token == service.as_token {
                    return Err(Clash::Token(other.id.clone(), service.id));
                }
                if other.sender == service.sender {
                    return Err(Clash::Sender(other.id.clone(), service.id));
                }
            }
            registered.by_token.insert(token, registered.all.len());
            registered.all.push(Arc::new(service));
        }
        Ok(Self(Arc::new(registered)))
    }

    /// Each of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ApplicationService>> {
        self.0.all.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.all.is_empty()
    }

    /// The one whose token that is.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<&Arc<ApplicationService>> {
        if self.is_empty() {
            return None;
        }
        self.0.by_token.get(&hash(token)).and_then(|index| self.0.all.get(*index))
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    fn service(id: &str, as_token: &str, sender: &str) -> ApplicationService {
        let registration = Registration {
            id: id.to_owned(),
            as_token: as_token.to_owned(),
            hs_token: "h".to_owned(),
            sender_localpart: sender.to_owned(),
            ..Registration::default()
        };
        ApplicationService::new(registration, server_name!("x.org")).unwrap()
    }

    #[test]
    fn they_are_told_apart_by_their_tokens() {
        let both = vec![service("one", "1", "a"), service("two", "2", "b")];
        let services = ApplicationServices::new(both).unwrap();
        assert_eq!(services.by_token("2").unwrap().id, "two");
        assert_eq!(services.by_token(""), None);
        assert_eq!(services.by_token("h"), None);
        assert_eq!(ApplicationServices::default().by_token(""), None);
    }

    #[test]
    fn those_that_cannot_be_told_apart_are_refused() {
        for (second, named) in [
            (service("one", "2", "b"), "`id`"),
            (service("two", "1", "b"), "`as_token`"),
            (service("two", "2", "a"), "`sender_localpart`"),
        ] {
            let clash = ApplicationServices::new(vec![service("one", "1", "a"), second]);
            assert!(clash.unwrap_err().to_string().contains(named));
        }
    }
}

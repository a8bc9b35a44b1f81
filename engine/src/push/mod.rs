//! Whom an event notifies: the push rules of users, and what they say about events.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-notifications>

pub(crate) mod carry;
pub mod change;
pub mod evaluate;
mod polls;
pub mod reach;
pub mod rules;

use std::{collections::HashSet, sync::Arc};

use moka::sync::Cache;
use ruma::{OwnedUserId, push::Ruleset};

use crate::config::Push;

/// How many users' rules, and lists of ignored users, are kept parsed.
const KEPT: u64 = 10_000;

/// What is kept parsed of the rules of users, by the position at which they were set. That never
/// changes, so nothing has to be forgotten.
#[derive(Clone, Debug)]
pub struct Memory {
    rules: Cache<(String, i64), Arc<Ruleset>>,
    ignored: Cache<(String, i64), Arc<HashSet<OwnedUserId>>>,
    everybody: Arc<Ruleset>,
}

impl Memory {
    /// Nothing yet.
    #[must_use]
    pub fn new(push: Push) -> Self {
        Self {
            rules: Cache::new(KEPT),
            ignored: Cache::new(KEPT),
            everybody: Arc::new(rules::of_everybody(push)),
        }
    }

    /// The default rules without those that are about one user.
    #[must_use]
    pub fn everybody(&self) -> &Ruleset {
        &self.everybody
    }
}

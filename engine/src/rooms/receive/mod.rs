//! What other servers send us: transactions of events and ephemeral messages.
//!
//! Reading order: [`transaction`] (one transaction, answered once), [`intake`] (reading and verifying
//! PDUs), [`room`] (the events of one room, in order), [`judge`] (one event, by the rules), [`gaps`]
//! and [`fetch`] (asking for what is missing), [`outliers`] (judging what came without its place),
//! [`bulk`] and [`given`] (whole states),
//! [`outside`] (events of rooms that we are not in), [`ephemeral`].

pub mod transaction;

pub mod intake;

pub mod room;

pub mod judge;

pub mod gaps;

pub mod fetch;

pub mod outliers;

pub mod texts;

pub mod bulk;

pub mod given;

pub mod outside;

pub mod ephemeral;

use std::collections::BTreeMap;

use ruma::OwnedEventId;

/// What became of the events of a transaction: the reason of those that were refused.
pub type Results = BTreeMap<OwnedEventId, Result<(), String>>;

/// How many requests all gaps of one room in one transaction may cost.
const FETCH_BUDGET: u32 = 60;

/// Requests that may still be made. What a stranger's events make us ask for ends somewhere.
#[derive(Debug)]
pub struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(FETCH_BUDGET)
    }
}

impl Budget {
    /// Takes one request; `false` when none is left.
    pub fn take(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }

    /// Leaves no more requests to be made.
    pub fn spend(&mut self) {
        self.0 = 0;
    }
}

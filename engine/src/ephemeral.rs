//! What other servers are told and nobody stores: typing, receipts and presence of this deployment's
//! users.
//!
//! The federation sender listens; who falls behind by more than [`CAPACITY`] loses the oldest, which
//! the protocol allows for these.

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId};
use tokio::sync::broadcast;

use crate::presence::Presence;

/// How many of them a listener may lag behind.
pub const CAPACITY: usize = 1024;

/// Something that other servers in a room are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edu {
    /// `m.typing`: a user of this deployment began or ended typing.
    Typing {
        /// The room.
        room_id: OwnedRoomId,
        /// Who.
        user_id: OwnedUserId,
        /// Whether they type now.
        typing: bool,
    },
    /// `m.receipt`: a user of this deployment has read (`m.read`; private receipts never leave).
    Receipt {
        /// The room.
        room_id: OwnedRoomId,
        /// Who.
        user_id: OwnedUserId,
        /// Up to which event.
        event_id: OwnedEventId,
        /// When, in milliseconds since the epoch.
        ts: i64,
        /// `main` or a thread's root; `None` when it is not about a thread.
        thread_id: Option<String>,
    },
    /// `m.presence`: whether a user of this deployment is there.
    Presence {
        /// Who.
        user_id: OwnedUserId,
        /// What their presence is.
        presence: Presence,
        /// Who is to be told.
        told: Told,
    },
}

/// Servers that are told of the presence of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// All that are in a room with them.
    Sharing,
    /// Those in one room.
    InRoom(OwnedRoomId),
    /// Only this one.
    Only(OwnedServerName),
}

/// Where EDUs come out.
#[derive(Clone, Debug)]
pub struct Ephemeral(broadcast::Sender<Edu>);

impl Default for Ephemeral {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Ephemeral {
    /// Hears everything from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Edu> {
        self.0.subscribe()
    }

    /// Tells whoever listens.
    pub(crate) fn publish(&self, edu: Edu) {
        // Nobody listens where federation is off.
        let _ = self.0.send(edu);
    }
}

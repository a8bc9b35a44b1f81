//! One effect that a user could name, as a value: what must hold, the rows to write, the facts that
//! become true. The writer applies it wholly or not at all.

use crate::{
    account_data, accounts, admin, appservices, backups, delayed_events, encryption, events,
    facts::Fact, federation, media, memberships, pushers, receipts, rooms, search, sliding, state,
    subscriptions, timeline, to_device, unread, user_directory,
};

/// Stands for a position that the commit will give: the fact's place in [`Change::facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub(crate) usize);

/// How many rows to write are kept in one piece.
const ROWS_TOGETHER: usize = 1_024;

/// Rows to write and what must hold for them to be written.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub(crate) rooms: Vec<RoomClaim>,
    pub(crate) claims: Vec<Claim>,
    /// Some at a time: a list of all rows of a large room would be copied as it grows.
    pub(crate) writes: Vec<Vec<Write>>,
    pub(crate) facts: Vec<Fact>,
}

/// The change was made for one version of a room and is void if another was committed meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct RoomClaim {
    pub(crate) room_id: String,
    pub(crate) expected: i64,
    pub(crate) next: i64,
}

/// A precondition that at most one change can win, in the whole deployment and for ever.
#[derive(Clone, Debug)]
pub enum Claim {
    /// A device's transaction id for one endpoint path; the loser learns the winner's event id.
    Transaction(events::ClientTransaction),
    /// A user id is free. Writes the row.
    NewUser(accounts::UserRow),
    /// An account is a guest's. Makes it one like others, with that password.
    Guest {
        /// The account.
        user_id: String,
        /// PHC string; `None`: it cannot log in by password.
        password_hash: Option<String>,
    },
    /// A third-party identifier is nobody else's. Writes the row.
    Threepid(accounts::threepids::ThreepidRow),
    /// An email session has not seen that attempt yet. Notes it.
    EmailAttempt {
        /// The session, should there be none.
        row: accounts::email_sessions::EmailSessionRow,
        /// Sessions made before count for nothing.
        expired: i64,
    },
    /// A room alias is free. Writes the row.
    NewAlias(rooms::AliasRow),
    /// A room id is not in use. Writes the row.
    NewRoom(rooms::NewRoom),
    /// There is no such registration token. Writes the row.
    NewRegistrationToken(accounts::registration_tokens::RegistrationTokenRow),
    /// A registration token has a use left. Counts it.
    RegistrationToken {
        /// The token.
        token: String,
        /// The present, to compare with its expiry.
        now_ts: i64,
    },
    /// An account is not closed, and its password still the one whose hash is `hash`; with `None`
    /// whatever it is. Whoever sets a password claims it too: of two changes about it, one is applied first.
    Password {
        /// The account.
        user_id: String,
        /// The PHC string that was looked at.
        hash: Option<String>,
    },
    /// A row of the accounts that must still be there, and is removed: a one-time log-in token or a
    /// user-interactive session.
    Once(accounts::Once),
    /// A user-interactive session is where it was seen, and goes on.
    Uia(accounts::uia::Progress),
    /// A piece of account data is as it was when the change was made.
    AccountData(account_data::Expected),
    /// Another attempt is allowed. Counts it.
    Attempt(accounts::attempts::Attempt),
    /// A promise of media can be kept. Keeps it.
    MediaPromise(media::Kept),
    /// A refresh token that is alive gets this successor.
    Rotate(accounts::tokens::Rotation),
    /// A one-time key was not handed out. Notes that it is.
    OneTimeKey(encryption::one_time_keys::KeyRow),
    /// The number of a key backup is free. Writes the row.
    NewBackup(backups::BackupRow),
    /// A key backup is the newest of its user.
    NewestBackup {
        /// The user.
        user_id: String,
        /// Its number.
        version: i64,
    },
    /// A message of another server did not come before. Notes that it did.
    ToDevice(to_device::Received),
}

/// One row to write, by table family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Events, edges, relations, redactions.
    Event(events::Write),
    /// State nodes and current state.
    State(state::Write),
    /// Places in the timeline.
    Timeline(timeline::Write),
    /// Unread numbers, marks, notifications.
    Unread(unread::Write),
    /// Rooms, extremities, aliases, servers in rooms.
    Room(rooms::Write),
    /// Memberships.
    Membership(memberships::Write),
    /// Users, devices, tokens, sessions.
    Account(accounts::Write),
    /// Account data, profiles, filters.
    AccountData(account_data::Write),
    /// Receipts and read positions.
    Receipt(receipts::Write),
    /// Which threads users follow.
    Subscription(subscriptions::Write),
    /// Events that are to be sent later.
    DelayedEvent(delayed_events::Write),
    /// Keys, destinations, transactions of other servers.
    Federation(federation::Write),
    /// The words of events.
    Search(search::Write),
    /// What administrators change.
    Admin(admin::Write),
    /// The words by which users are found.
    UserDirectory(user_directory::Write),
    /// Keys of devices and users, and who is to be told of them.
    Encryption(encryption::Write),
    /// Messages to devices.
    ToDevice(to_device::Write),
    /// Key backups.
    Backup(backups::Write),
    /// Media and thumbnails.
    Media(media::Write),
    /// What application services were told, and what they list.
    Appservice(appservices::Write),
    /// How users want to be told of what notifies them.
    Pusher(pushers::Write),
    /// What clients were sent by sliding sync.
    Sliding(sliding::Write),
}

impl Change {
    /// An empty change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.writes.is_empty() && self.facts.is_empty()
    }

    /// Requires that the room is still at version `expected` when the change is applied, and brings it to
    /// version `next`, which no other change has brought it to, nor will.
    pub fn require_room(&mut self, room_id: impl Into<String>, expected: i64, next: i64) {
        self.rooms.push(RoomClaim { room_id: room_id.into(), expected, next });
    }

    /// Adds a claim.
    pub fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    /// Adds a row.
    pub fn write(&mut self, row: impl Into<Write>) {
        match self.writes.last_mut().filter(|rows| rows.len() < ROWS_TOGETHER) {
            Some(rows) => rows.push(row.into()),
            None => self.writes.push(vec![row.into()]),
        }
    }

    /// Adds a fact, and returns the position that it will have.
    pub fn fact(&mut self, fact: Fact) -> At {
        self.facts.push(fact);
        At(self.facts.len() - 1)
    }
}

macro_rules! write_from {
    ($($variant:ident($family:ident)),*) => {
        $(impl From<$family::Write> for Write {
            fn from(row: $family::Write) -> Self { Self::$variant(row) }
        })*
    };
}

write_from!(
    Event(events),
    State(state),
    Timeline(timeline),
    Unread(unread),
    Room(rooms),
    Membership(memberships),
    Account(accounts),
    AccountData(account_data),
    Receipt(receipts),
    Subscription(subscriptions),
    DelayedEvent(delayed_events),
    Federation(federation),
    Search(search),
    Admin(admin),
    UserDirectory(user_directory),
    Encryption(encryption),
    ToDevice(to_device),
    Backup(backups),
    Media(media),
    Appservice(appservices),
    Pusher(pushers),
    Sliding(sliding)
);

impl At {
    /// The position itself, when `base` is the position before the change's first fact.
    pub(crate) fn after(self, base: i64) -> i64 {
        base + 1 + i64::try_from(self.0).unwrap_or(i64::MAX - base - 1)
    }
}

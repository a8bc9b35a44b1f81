//! What is known of the presence of users. In memory only: a restart forgets it, and everybody who is
//! there says so again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedUserId, UserId};

/// How long a device counts as connected after its last /sync, in milliseconds.
const GRACE_MS: i64 = 30 * 1_000;

/// How long somebody who does nothing is online, in milliseconds.
pub const IDLE_MS: i64 = 5 * 60 * 1_000;

/// How long what another server said is believed without being said again, in milliseconds.
const BELIEVED_MS: i64 = 30 * 60 * 1_000;

/// After how long other servers are told again, in milliseconds.
const TOLD_AGAIN_MS: i64 = 25 * 60 * 1_000;

/// How many users are known at most.
const MOST: usize = 100_000;

/// How many devices of a user are looked at.
const MOST_DEVICES: usize = 100;

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No.
    #[default]
    Offline,
    /// Connected, and doing nothing.
    Unavailable,
    /// Yes.
    Online,
}

impl Status {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }

    /// The status of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Offline, Self::Unavailable, Self::Online].into_iter().find(|it| it.name() == name)
    }
}

/// What somebody's presence is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether they are there.
    pub status: Status,
    /// What they say about it.
    pub message: Option<String>,
    /// When they did something last, in milliseconds since the epoch.
    pub active_ms: i64,
}

/// The presence of everybody.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts changes.
    serial: u64,
    people: HashMap<OwnedUserId, Person>,
    /// Who changed last at which serial number.
    by_serial: BTreeMap<u64, OwnedUserId>,
}

#[derive(Debug, Default)]
struct Person {
    presence: Presence,
    changed: u64,
    /// When it was told to or by other servers last.
    told_ms: i64,
    /// Whether the user is of this server.
    local: bool,
    devices: HashMap<String, Device>,
}

#[derive(Debug)]
struct Device {
    status: Status,
    /// How many of its requests to /sync are waiting.
    waiting: usize,
    until_ms: i64,
}

impl Memory {
    /// The serial number of the newest change.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.lock().serial
    }

    /// What somebody's presence is, if anything is known.
    #[must_use]
    pub fn get(&self, user: &UserId) -> Option<Presence> {
        self.lock().people.get(user).map(|person| person.presence.clone())
    }

    /// Who changed last after `since` and not after `until`. A client that begins
    /// (`since` is 0) hears nothing of those who are offline.
    #[must_use]
    pub fn changed(&self, since: u64, until: u64) -> Vec<OwnedUserId> {
        let state = self.lock();
        let after = state.by_serial.range(since.saturating_add(1)..);
        let range = after.take_while(|(serial, _)| **serial <= until).map(|(_, user)| user);
        let is_news = |user: &&OwnedUserId| since > 0 || state.people.get(*user).is_some_and(says);
        range.filter(is_news).cloned().collect()
    }

    /// Those of the users who are there.
    #[must_use]
    pub fn there(&self, users: Vec<OwnedUserId>) -> Vec<OwnedUserId> {
        let state = self.lock();
        users.into_iter().filter(|user| state.people.get(user).is_some_and(says)).collect()
    }

    /// A device begins a request to /sync; whether the user's status is another one now.
    pub(super) fn connect(&self, user: &UserId, device: &str, status: Status, now_ms: i64) -> bool {
        self.change(user, now_ms, |person| {
            let Some(entry) = person.device(device) else { return };
            let comes = entry.status != Status::Online && status == Status::Online;
            entry.status = status;
            entry.waiting += 1;
            if comes {
                person.presence.active_ms = now_ms;
            }
        })
    }

    /// A request of a device to /sync ends.
    pub(super) fn disconnect(&self, user: &UserId, device: &str, now_ms: i64) {
        let mut state = self.lock();
        let person = state.people.get_mut(user);
        if let Some(device) = person.and_then(|person| person.devices.get_mut(device)) {
            device.waiting = device.waiting.saturating_sub(1);
            device.until_ms = device.until_ms.max(now_ms + GRACE_MS);
        }
    }

    /// A device says what the user's presence is; whether it is another one now.
    pub(super) fn set(
        &self,
        user: &UserId,
        device: &str,
        (status, message): (Status, Option<String>),
        now_ms: i64,
    ) -> bool {
        self.change(user, now_ms, |person| {
            if let Some(entry) = person.device(device) {
                entry.status = status;
                entry.until_ms = now_ms + IDLE_MS;
            }
            person.presence.message = message;
            person.presence.active_ms = now_ms;
        })
    }

    /// A user does something; whether their status is another one now.
    pub(super) fn active(&self, user: &UserId, now_ms: i64) -> bool {
        if !self.lock().people.contains_key(user) {
            return false;
        }
        self.change(user, now_ms, |person| person.presence.active_ms = now_ms)
    }

    /// Another server says what its user's presence is; whether it is another one now.
    pub(super) fn receive(&self, user: &UserId, presence: Presence, now_ms: i64) -> bool {
        let mut state = self.lock();
        let Some(person) = state.person(user, false) else { return false };
        let old = std::mem::replace(&mut person.presence, presence);
        person.told_ms = now_ms;
        let is_other =
            (old.status, &old.message) != (person.presence.status, &person.presence.message);
        if is_other {
            state.touch(user);
        }
        is_other
    }

    /// Says a user's presence again to whoever asks for changes; whether there is something to say.
    pub(super) fn repeat(&self, user: &UserId) -> bool {
        let mut state = self.lock();
        let is_worth_it = state.people.get(user).is_some_and(says);
        if is_worth_it {
            state.touch(user);
        }
        is_worth_it
    }

    /// Looks who is not there any more; those whose status is another one now, and those of this
    /// server of whom other servers are to be told again.
    pub(super) fn sweep(&self, now_ms: i64) -> (Vec<OwnedUserId>, Vec<OwnedUserId>) {
        let mut state = self.lock();
        let (mut changed, mut again) = (vec![], vec![]);
        for (user, person) in &mut state.people {
            if person.settle(now_ms) {
                changed.push(user.clone());
            } else if person.local
                && person.presence.status != Status::Offline
                && person.told_ms + TOLD_AGAIN_MS <= now_ms
            {
                person.told_ms = now_ms;
                again.push(user.clone());
            }
        }
        for user in &changed {
            state.touch(user);
        }
        (changed, again)
    }

    fn change(&self, user: &UserId, now_ms: i64, how: impl FnOnce(&mut Person)) -> bool {
        let mut state = self.lock();
        let Some(person) = state.person(user, true) else { return false };
        let message = person.presence.message.clone();
        how(person);
        let is_other = person.settle(now_ms) | (person.presence.message != message);
        if is_other {
            person.told_ms = now_ms;
            state.touch(user);
        }
        is_other
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody is there.
fn says(person: &Person) -> bool {
    person.presence.status != Status::Offline
}

impl State {
    /// Somebody who is known or becomes so; when too many are, one who is offline is forgotten.
    fn person(&mut self, user: &UserId, local: bool) -> Option<&mut Person> {
        if !self.people.contains_key(user) && self.people.len() >= MOST {
            let people = &self.people;
            let offline = self
                .by_serial
                .iter()
                .find(|(_, user)| people.get(*user).is_some_and(|person| !says(person)));
            let (serial, forgotten) = offline.map(|(serial, user)| (*serial, user.clone()))?;
            self.by_serial.remove(&serial);
            self.people.remove(&forgotten);
        }
        let new = || Person { local, ..Person::default() };
        Some(self.people.entry(user.to_owned()).or_insert_with(new))
    }

    fn touch(&mut self, user: &UserId) {
        let Some(person) = self.people.get_mut(user) else { return };
        self.serial += 1;
        self.by_serial.remove(&person.changed);
        person.changed = self.serial;
        self.by_serial.insert(self.serial, user.to_owned());
    }
}

impl Person {
    fn device(&mut self, device: &str) -> Option<&mut Device> {
        if !self.devices.contains_key(device) && self.devices.len() >= MOST_DEVICES {
            return None;
        }
        let new = || Device { status: Status::Offline, waiting: 0, until_ms: 0 };
        Some(self.devices.entry(device.to_owned()).or_insert_with(new))
    }

    /// Draws what follows from the time; whether the status is another one now.
    fn settle(&mut self, now_ms: i64) -> bool {
        let old = self.presence.status;
        self.presence.status = if self.local {
            self.devices.retain(|_, device| device.waiting > 0 || device.until_ms > now_ms);
            let best = self.devices.values().map(|device| device.status).max();
            match best.unwrap_or_default() {
                Status::Online if self.presence.active_ms + IDLE_MS <= now_ms => {
                    Status::Unavailable
                }
                best => best,
            }
        } else if self.told_ms + BELIEVED_MS <= now_ms {
            Status::Offline
        } else {
            old
        };
        self.presence.status != old
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn the_most_present_device_counts_until_it_is_gone() {
        let (memory, alice) = (Memory::default(), user_id!("@alice:a.org"));
        let status = || memory.get(alice).unwrap().status;
        let now = 10 * IDLE_MS;
        assert!(memory.connect(alice, "A", Status::Unavailable, now));
        assert!(memory.connect(alice, "B", Status::Online, now));
        assert!(!memory.connect(alice, "B", Status::Online, now), "nothing new");
        assert_eq!(status(), Status::Online);
        memory.disconnect(alice, "B", now);
        memory.disconnect(alice, "B", now + 1_000);
        assert!(memory.sweep(now + GRACE_MS).0.is_empty());
        assert_eq!(memory.sweep(now + GRACE_MS + 1_000).0, [alice]);
        assert_eq!(status(), Status::Unavailable);
        memory.disconnect(alice, "A", now + GRACE_MS);
        assert_eq!(memory.sweep(now + 3 * GRACE_MS).0, [alice]);
        assert_eq!(status(), Status::Offline);
    }

    #[test]
    fn who_does_nothing_is_unavailable_until_they_do_something() {
        let (memory, alice) = (Memory::default(), user_id!("@alice:a.org"));
        memory.connect(alice, "A", Status::Online, 0);
        assert!(!memory.active(alice, 10));
        assert!(memory.sweep(IDLE_MS).0.is_empty());
        assert_eq!(memory.sweep(IDLE_MS + 10).0, [alice]);
        assert_eq!(memory.get(alice).unwrap().status, Status::Unavailable);
        assert!(memory.active(alice, IDLE_MS + 20));
        assert_eq!(memory.get(alice).unwrap().status, Status::Online);
    }

    #[test]
    fn changes_are_told_once() {
        let (memory, alice) = (Memory::default(), user_id!("@alice:a.org"));
        let bob = user_id!("@bob:b.org");
        memory.connect(alice, "A", Status::Online, 0);
        let online = || Presence { status: Status::Online, message: None, active_ms: 5 };
        assert!(memory.receive(bob, online(), 0));
        assert!(!memory.receive(bob, online(), 1), "a repetition");
        assert_eq!(memory.changed(0, memory.serial()), [alice, bob]);
        let seen = memory.serial();
        assert!(memory.changed(seen, memory.serial()).is_empty());
        assert!(memory.repeat(alice));
        assert_eq!(memory.changed(seen, memory.serial()), [alice]);
        assert_eq!(
            memory.sweep(BELIEVED_MS + 1).0.len(),
            2,
            "one idles, the other is not believed"
        );
        assert_eq!(
            memory.changed(0, memory.serial()),
            [alice],
            "of who is offline nothing is said"
        );
    }
}

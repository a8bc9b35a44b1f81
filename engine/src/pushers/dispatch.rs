//! Which pushers are to be told something, now or later.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedEventId, RoomId, events::TimelineEventType};
use starling_storage::{
    Fact, Listener, Positioned, memberships,
    pushers::{self, PusherKey},
    unread,
};
use tokio::task::{JoinError, JoinSet};

use super::{
    courier::{self, Call, End},
    due::Due,
    round::Round,
};
use crate::{Engine, Internal, events::store};

/// In how many rooms it is known who has a pusher.
const MOST_ROOMS: usize = 10_000;

/// After a failure to read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What is going on with a pusher; of one that is not listed, nothing is.
enum State {
    /// A task tells it something; what came in since it looked is due afterwards.
    Telling { again: Option<Arc<Round>> },
    /// Left alone until the pause with this number is over.
    Paused(u64),
}

/// Decides who is told.
pub(super) struct Dispatcher {
    engine: Engine,
    /// Up to where it is known what happened.
    heard: i64,
    /// The pushers that want to be told, by their users.
    known: HashMap<String, HashSet<PusherKey>>,
    /// Who of these users is in a room.
    rooms: HashMap<String, Arc<HashSet<String>>>,
    states: HashMap<PusherKey, State>,
    telling: JoinSet<(PusherKey, End)>,
    pausing: JoinSet<(PusherKey, u64)>,
    pauses: u64,
}

/// Runs until the engine shuts down.
pub(super) async fn run(engine: Engine) {
    // What is committed from here on is heard; what was committed before is looked up.
    let mut facts = engine.storage.feed().listen();
    let mut dispatcher = Dispatcher::new(engine.clone(), facts.heard());
    while let Err(error) = dispatcher.begin().await {
        tracing::error!(%error, "the pushers could not be read");
        tokio::select! {
            () = engine.shutdown.cancelled() => return,
            () = tokio::time::sleep(READ_AGAIN) => {}
        }
    }
    while !engine.shutdown.is_cancelled() {
        tokio::select! {
            () = engine.shutdown.cancelled() => break,
            heard = next(&engine, &mut facts) => match heard {
                Some(facts) => dispatcher.hear(&facts).await,
                None => break,
            },
            Some(ended) = dispatcher.telling.join_next() => dispatcher.ended(ended),
            Some(Ok((key, number))) = dispatcher.pausing.join_next() => {
                dispatcher.pause_over(key, number);
            }
        }
        dispatcher.measure();
    }
    // Whatever was not taken yet is told after the next start.
    dispatcher.telling.shutdown().await;
}

/// The next facts; a failure to read them is waited out.
async fn next(engine: &Engine, facts: &mut Listener) -> Option<Arc<Vec<Positioned>>> {
    loop {
        match facts.next(engine.storage.db()).await {
            Ok(facts) => return facts,
            Err(error) => {
                tracing::error!(%error, "facts could not be read");
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
    }
}

impl Dispatcher {
    pub(super) fn new(engine: Engine, heard: i64) -> Self {
        Self {
            engine,
            heard,
            known: HashMap::new(),
            rooms: HashMap::new(),
            states: HashMap::new(),
            telling: JoinSet::new(),
            pausing: JoinSet::new(),
            pauses: 0,
        }
    }

    /// Looks at every pusher: something may have happened since it was told last.
    pub(super) async fn begin(&mut self) -> Result<(), Internal> {
        let mut conn = self.engine.storage.read().await?;
        let pushers = pushers::all_enabled(&mut conn).await?;
        drop(conn);
        let now_ms = self.engine.clock.now_ms();
        for (key, retry_ts) in pushers {
            self.known.entry(key.user_id.clone()).or_default().insert(key.clone());
            if let Ok(wait_ms @ 1..) = u64::try_from(retry_ts.saturating_sub(now_ms)) {
                self.pause(key, Duration::from_millis(wait_ms));
            }
        }
        self.wake_everybody();
        Ok(())
    }

    fn measure(&self) {
        let measures = &self.engine.measures.push;
        measures.telling.set_count(self.telling.len());
        measures.paused.set_count(self.states.len().saturating_sub(self.telling.len()));
    }

    async fn hear(&mut self, facts: &[Positioned]) {
        self.heard = facts.last().map_or(self.heard, |fact| fact.pos);
        match self.due(facts).await {
            Ok(due) => {
                for (user_id, due) in due {
                    self.wake_user(&user_id, &due);
                }
            }
            Err(error) => {
                tracing::error!(%error, "whom events notify could not be read");
                self.rooms.clear();
                self.wake_everybody();
            }
        }
    }

    fn wake_everybody(&mut self) {
        let users: Vec<String> = self.known.keys().cloned().collect();
        for user_id in users {
            self.wake_user(&user_id, &Due::everything(self.heard));
        }
    }

    /// What facts make due for whom.
    pub(super) async fn due(
        &mut self,
        facts: &[Positioned],
    ) -> Result<BTreeMap<String, Due>, Internal> {
        let (mut all, heard) = (BTreeMap::new(), self.heard);
        let mut add = |user_id: &str, due: Due| {
            let before = all.remove(user_id);
            let due = before.into_iter().fold(due, Due::and);
            all.insert(user_id.to_owned(), due);
        };
        for Positioned { fact, .. } in facts {
            match fact {
                Fact::Event { room_id, event_id, member, .. } => {
                    if let Some(user_id) = member.as_ref().filter(|it| self.knows(it)) {
                        self.rooms.remove(room_id);
                        add(user_id, Due::membership(heard, room_id));
                    }
                    for (user_id, due) in self.event(room_id, event_id).await? {
                        add(&user_id, due);
                    }
                }
                Fact::State { room_id } => drop(self.rooms.remove(room_id)),
                Fact::Membership { user_id, room_id } if self.knows(user_id) => {
                    add(user_id, Due::membership(heard, room_id));
                }
                Fact::Receipt { user_id, .. } if self.knows(user_id) => {
                    add(user_id, Due::badge(heard));
                }
                Fact::Pushers { user_id } => {
                    self.reload(user_id).await?;
                    add(user_id, Due::everything(heard));
                }
                Fact::Devices { user_id } if self.knows(user_id) => self.reload(user_id).await?,
                _ => {}
            }
        }
        Ok(all)
    }

    fn knows(&self, user_id: &str) -> bool {
        self.known.contains_key(user_id)
    }

    /// To whom an event means something: those it notifies, and those whose number of unread messages it
    /// changes.
    async fn event(
        &mut self,
        room_id: &str,
        event_id: &str,
    ) -> Result<Vec<(String, Due)>, Internal> {
        let users = self.users_in(room_id).await?;
        if users.is_empty() {
            return Ok(vec![]);
        }
        let mut conn = self.engine.storage.read().await?;
        let does = unread::does(&mut conn, room_id, event_id).await?;
        drop(conn);
        let (id, event_id) = (<&RoomId>::try_from(room_id)?, OwnedEventId::try_from(event_id)?);
        let event = store::get(&self.engine, id, &event_id).await?;
        let Some(event) = event else { return Ok(vec![]) };
        let sender = event.pdu.sender.as_str();
        let unsays = event.pdu.kind == TimelineEventType::RoomRedaction;
        let mut due = Vec::new();
        for user_id in users.iter() {
            // Who says something has read what was before it.
            if user_id == sender || unsays {
                due.push((user_id.clone(), Due::badge(self.heard)));
            }
            if user_id != sender && (does.everybody || does.users.contains(user_id)) {
                due.push((user_id.clone(), Due::room(self.heard, room_id)));
            }
        }
        Ok(due)
    }

    /// The members of a room who have pushers.
    async fn users_in(&mut self, room_id: &str) -> Result<Arc<HashSet<String>>, Internal> {
        if self.known.is_empty() {
            return Ok(Arc::default());
        }
        if let Some(users) = self.rooms.get(room_id) {
            return Ok(users.clone());
        }
        let mut conn = self.engine.storage.read().await?;
        let users = pushers::users_in(&mut conn, room_id).await?;
        drop(conn);
        let users = Arc::new(HashSet::from_iter(users));
        if self.rooms.len() >= MOST_ROOMS {
            self.rooms.clear();
        }
        self.rooms.insert(room_id.to_owned(), users.clone());
        Ok(users)
    }

    /// Reads which pushers a user has. Whoever has their first one is now known in their rooms.
    async fn reload(&mut self, user_id: &str) -> Result<(), Internal> {
        let mut conn = self.engine.storage.read().await?;
        let rows = pushers::of_user(&mut conn, user_id).await?;
        let keys: HashSet<PusherKey> =
            rows.into_iter().filter(|row| row.enabled).map(|row| row.key).collect();
        if keys.is_empty() {
            self.known.remove(user_id);
            return Ok(());
        }
        for key in &keys {
            // It was set anew: its gateway may be another one.
            if matches!(self.states.get(key), Some(State::Paused(_))) {
                self.states.remove(key);
            }
        }
        if self.known.insert(user_id.to_owned(), keys).is_none() {
            for room_id in memberships::joined_rooms(&mut conn, user_id).await? {
                self.rooms.remove(&room_id);
            }
        }
        Ok(())
    }

    /// There may be something for the pushers of a user, which look for it together.
    fn wake_user(&mut self, user_id: &str, due: &Due) {
        let keys: Vec<PusherKey> = self.known.get(user_id).into_iter().flatten().cloned().collect();
        let mut rounds = Rounds::new(user_id, due);
        for key in keys {
            match self.states.get_mut(&key) {
                // It looks at everything afterwards.
                Some(State::Paused(_)) => {}
                Some(State::Telling { again }) => *again = Some(rounds.after(again.as_ref())),
                None => self.tell(Call { key, round: rounds.after(None), was_idle: true }),
            }
        }
    }

    fn tell(&mut self, call: Call) {
        self.states.insert(call.key.clone(), State::Telling { again: None });
        let engine = self.engine.clone();
        self.telling.spawn(async move {
            let end = courier::run(&engine, &call).await;
            (call.key, end)
        });
    }

    fn ended(&mut self, ended: Result<(PusherKey, End), JoinError>) {
        let (key, end) = match ended {
            Ok(ended) => ended,
            Err(error) => return self.recover(&error),
        };
        let state = self.states.remove(&key);
        match (end, state) {
            (End::Pause(pause), _) => self.pause(key, pause),
            (_, Some(State::Telling { again: Some(round) })) => {
                self.tell(Call { key, round, was_idle: false });
            }
            (End::Drained | End::Gone, _) => {}
        }
    }

    /// A task that panicked does not say for whom it worked: everybody who is being told is looked at
    /// again.
    fn recover(&mut self, error: &JoinError) {
        if error.is_cancelled() {
            return;
        }
        tracing::error!(%error, "telling a user of messages panicked");
        self.telling.abort_all();
        let telling = |(key, state): (&PusherKey, &State)| {
            matches!(state, State::Telling { .. }).then(|| key.clone())
        };
        let keys: Vec<PusherKey> = self.states.iter().filter_map(telling).collect();
        for key in keys {
            self.pause(key, READ_AGAIN);
        }
    }

    fn pause(&mut self, key: PusherKey, pause: Duration) {
        self.pauses += 1;
        let number = self.pauses;
        self.states.insert(key.clone(), State::Paused(number));
        self.pausing.spawn(async move {
            tokio::time::sleep(pause).await;
            (key, number)
        });
    }

    fn pause_over(&mut self, key: PusherKey, number: u64) {
        if matches!(self.states.get(&key), Some(State::Paused(current)) if *current == number) {
            self.states.remove(&key);
            let round = Round::new(&key.user_id, Due::everything(self.heard));
            self.tell(Call { key, round, was_idle: true });
        }
    }
}

/// What something comes to that wakes the pushers of a user: the same for those that are at the same point.
struct Rounds<'a> {
    user_id: &'a str,
    due: &'a Due,
    /// By what they were to look for already.
    made: Vec<(Option<Arc<Round>>, Arc<Round>)>,
}

impl<'a> Rounds<'a> {
    fn new(user_id: &'a str, due: &'a Due) -> Self {
        Self { user_id, due, made: Vec::new() }
    }

    /// For a pusher that is to look for `before` already, and has not begun.
    fn after(&mut self, before: Option<&Arc<Round>>) -> Arc<Round> {
        let is_same = |made: &Option<Arc<Round>>| match (made, before) {
            (Some(made), Some(before)) => Arc::ptr_eq(made, before),
            (made, before) => made.is_none() && before.is_none(),
        };
        if let Some((_, round)) = self.made.iter().find(|(made, _)| is_same(made)) {
            return round.clone();
        }
        let due =
            before.map_or_else(|| self.due.clone(), |it| self.due.clone().and(it.due.clone()));
        let round = Round::new(self.user_id, due);
        self.made.push((before.cloned(), round.clone()));
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_the_same_looks_together() {
        let due = Due::badge(7);
        let mut rounds = Rounds::new("@a:test", &due);
        let (idle, other) = (rounds.after(None), rounds.after(None));
        assert!(Arc::ptr_eq(&idle, &other) && idle.due == due);
        let before = Round::new("@a:test", Due::room(5, "!a"));
        let (late, later) = (rounds.after(Some(&before)), rounds.after(Some(&before)));
        assert!(Arc::ptr_eq(&late, &later) && !Arc::ptr_eq(&late, &idle));
        assert_eq!(late.due, Due::room(5, "!a").and(Due::badge(7)));
        assert!(!Arc::ptr_eq(&rounds.after(Some(&late)), &late));
    }
}

//! Which servers are to be sent something, now or later.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ruma::{OwnedServerName, RoomId, ServerName, UserId};
use starling_storage::{
    DbError, Fact, Listener, Positioned, encryption::outbox, federation, memberships, rooms,
};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    task::JoinSet,
};

use super::{
    Paused,
    destination::{self, End},
    edus::{EduQueue, Message},
    turns::Turns,
};
use crate::{
    Engine,
    ephemeral::{Edu, Told},
};

/// After a failure to read the facts.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What the dispatcher is told from outside.
#[derive(Debug)]
pub(super) enum Command {
    /// The server is there again.
    Retry(OwnedServerName),
    /// The pause with this number is over.
    PauseOver(OwnedServerName, u64),
}

/// What is known of a server that is sent to, paused, or has something in memory.
#[derive(Default)]
struct Destination {
    state: State,
    /// Whether it did not take what it was sent last.
    failing: bool,
    edus: Arc<Mutex<EduQueue>>,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// A task sends; `again` when something came in after it last looked.
    Sending { again: bool },
    /// Left alone until the pause with this number is over.
    Paused(u64),
}

/// Decides who is sent to.
pub(super) struct Dispatcher {
    engine: Engine,
    commands: mpsc::Receiver<Command>,
    own: mpsc::WeakSender<Command>,
    paused: Paused,
    destinations: HashMap<OwnedServerName, Destination>,
    sending: JoinSet<(OwnedServerName, End)>,
    turns: Turns,
    pauses: u64,
}

impl Dispatcher {
    pub(super) fn new(
        engine: Engine,
        commands: mpsc::Receiver<Command>,
        own: mpsc::WeakSender<Command>,
        paused: Paused,
    ) -> Self {
        let turns = Turns::measured(&engine.measures.sent.slow);
        Self {
            engine,
            commands,
            own,
            paused,
            destinations: HashMap::new(),
            sending: JoinSet::new(),
            turns,
            pauses: 0,
        }
    }

    /// Runs until the engine shuts down.
    pub(super) async fn run(mut self) {
        let shutdown = self.engine.shutdown.clone();
        // What is committed from here on is heard; what was committed before is looked up.
        let mut facts = self.engine.storage.feed().listen();
        let mut ephemeral = self.engine.ephemeral.listen();
        if let Err(error) = self.look_for_those_behind().await {
            tracing::error!(%error, "The servers that are behind could not be read");
        }
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => break,
                heard = next(&self.engine, &mut facts) => match heard {
                    Some(facts) => self.hear(&facts).await,
                    None => break,
                },
                edu = ephemeral.recv() => match edu {
                    Ok(edu) => self.hear_ephemeral(&edu).await,
                    // What was missed is not missed by anybody.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                Some(command) = self.commands.recv() => self.obey(command),
                Some(ended) = self.sending.join_next() => self.ended(ended),
            }
            self.engine.measures.sent.paused.set_count(self.paused.count());
        }
        // Whoever is in the middle of a transaction finds it in flight after the next start.
        self.sending.shutdown().await;
    }

    async fn look_for_those_behind(&mut self) -> Result<(), DbError> {
        let head = self.engine.storage.feed().head();
        let mut conn = self.engine.storage.read().await?;
        let servers = federation::destinations_behind(&mut conn, head).await?;
        let now_ms = self.engine.clock.now_ms();
        for server in servers {
            let Ok(name) = OwnedServerName::try_from(server.as_str()) else { continue };
            let row = federation::destination(&mut conn, &server).await?;
            let (retry_ts, failures) = row.map_or((0, 0), |row| (row.retry_ts, row.failures));
            self.destinations.entry(name.clone()).or_default().failing = failures > 0;
            let wait_ms = retry_ts.saturating_sub(now_ms);
            match u64::try_from(wait_ms) {
                Ok(wait_ms) if wait_ms > 0 => self.pause(name, Duration::from_millis(wait_ms)),
                _ => self.wake(name),
            }
        }
        Ok(())
    }

    async fn hear(&mut self, facts: &[Positioned]) {
        if let Err(error) = self.try_to_hear(facts).await {
            // The events are not lost: the next event for the same servers takes them along.
            tracing::error!(%error, "Could not look up to whom events are owed");
        }
    }

    async fn try_to_hear(&mut self, facts: &[Positioned]) -> Result<(), DbError> {
        let mut servers = BTreeSet::new();
        for Positioned { pos, fact } in facts {
            if let Fact::Event { room_id, local: true, .. } = fact {
                let mut conn = self.engine.storage.read().await?;
                servers.extend(rooms::servers_owed(&mut conn, room_id, *pos).await?);
            }
            match fact {
                // Who comes into a room introduces their devices.
                Fact::Event { member: Some(user_id), .. } | Fact::Devices { user_id }
                    if self.is_own(user_id) =>
                {
                    let mut conn = self.engine.storage.read().await?;
                    servers.extend(outbox::servers_for(&mut conn, user_id).await?);
                }
                Fact::Owed { server } => drop(servers.insert(server.clone())),
                _ => {}
            }
        }
        for server in servers {
            if let Ok(server) = OwnedServerName::try_from(server) {
                self.wake(server);
            }
        }
        Ok(())
    }

    fn is_own(&self, user_id: &str) -> bool {
        <&UserId>::try_from(user_id)
            .is_ok_and(|user| user.server_name() == self.engine.config.server_name)
    }

    async fn hear_ephemeral(&mut self, edu: &Edu) {
        let servers = match edu {
            Edu::Typing { room_id, .. } | Edu::Receipt { room_id, .. } => {
                self.servers_in(room_id).await
            }
            Edu::Presence { user_id, told, .. } => match told {
                Told::Sharing => self.servers_sharing(user_id).await,
                Told::InRoom(room_id) => self.servers_in(room_id).await,
                Told::Only(server) => Ok(vec![server.clone()]),
            },
        };
        match servers {
            Ok(servers) => {
                let Ok(message) = Message::new(edu, self.engine.clock.now_ms()) else { return };
                for server in servers {
                    self.queue(server, message.clone());
                }
            }
            Err(error) => tracing::warn!(%error, "An ephemeral message is lost"),
        }
    }

    async fn servers_in(&self, room_id: &RoomId) -> Result<Vec<OwnedServerName>, DbError> {
        let mut conn = self.engine.storage.read().await?;
        let servers = rooms::servers_in(&mut conn, room_id.as_str()).await?;
        Ok(servers.into_iter().filter_map(|server| server.try_into().ok()).collect())
    }

    async fn servers_sharing(&self, user_id: &UserId) -> Result<Vec<OwnedServerName>, DbError> {
        let mut conn = self.engine.storage.read().await?;
        let servers = memberships::servers_sharing(&mut conn, user_id.as_str()).await?;
        Ok(servers.into_iter().filter_map(|server| server.try_into().ok()).collect())
    }

    fn queue(&mut self, server: OwnedServerName, message: Message) {
        if server == self.engine.config.server_name {
            return;
        }
        let destination = self.destinations.entry(server.clone()).or_default();
        destination.edus.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.wake(server);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Retry(server) => {
                // It is there: it need not wait among those that may not be.
                if let Some(destination) = self.destinations.get_mut(&server) {
                    destination.failing = false;
                }
                self.resume(server);
            }
            Command::PauseOver(server, number) => {
                let state = self.destinations.get(&server).map(|destination| &destination.state);
                if matches!(state, Some(State::Paused(current)) if *current == number) {
                    self.resume(server);
                }
            }
        }
    }

    fn resume(&mut self, server: OwnedServerName) {
        self.paused.remove(&server);
        if let Some(destination) = self.destinations.get_mut(&server)
            && matches!(destination.state, State::Paused(_))
        {
            destination.state = State::Idle;
            self.wake(server);
        }
    }

    /// There is something for a server. One that is paused gets it when its pause is over.
    fn wake(&mut self, server: OwnedServerName) {
        if server == self.engine.config.server_name {
            return;
        }
        let destination = self.destinations.entry(server.clone()).or_default();
        match &mut destination.state {
            State::Paused(_) => {}
            State::Sending { again } => *again = true,
            state @ State::Idle => {
                *state = State::Sending { again: false };
                let (edus, failing) = (destination.edus.clone(), destination.failing);
                self.send(server, edus, failing);
            }
        }
    }

    fn send(&mut self, server: OwnedServerName, edus: Arc<Mutex<EduQueue>>, failing: bool) {
        let (engine, turns) = (self.engine.clone(), self.turns.clone());
        self.sending.spawn(async move {
            let waiting = engine.measures.sent.waiting.enter();
            let turn = turns.wait(failing).await;
            drop(waiting);
            let _sending = engine.measures.sent.sending.enter();
            let end = destination::run(engine, server.clone(), edus, turn).await;
            (server, end)
        });
    }

    fn ended(&mut self, ended: Result<(OwnedServerName, End), tokio::task::JoinError>) {
        let (server, end) = match ended {
            Ok(ended) => ended,
            Err(error) => return self.recover(&error),
        };
        let Some(destination) = self.destinations.get_mut(&server) else { return };
        let again = matches!(destination.state, State::Sending { again: true });
        destination.state = State::Idle;
        destination.failing = matches!(end, End::Pause(_));
        match end {
            End::Pause(pause) => self.pause(server, pause),
            End::Drained if again => self.wake(server),
            End::Drained => self.forget(&server),
        }
    }

    /// A task that panicked does not say for whom it worked: everybody who is marked as being sent
    /// to is looked at again. Who really is has the mark set once more.
    fn recover(&mut self, error: &tokio::task::JoinError) {
        if error.is_cancelled() {
            return;
        }
        tracing::error!(%error, "Sending to a server panicked");
        let sending = |(_, destination): &(&OwnedServerName, &Destination)| {
            matches!(destination.state, State::Sending { .. })
        };
        let servers: Vec<_> =
            self.destinations.iter().filter(sending).map(|(server, _)| server.clone()).collect();
        self.sending.abort_all();
        for server in servers {
            self.pause(server, READ_AGAIN);
        }
    }

    fn forget(&mut self, server: &ServerName) {
        let waiting = |destination: &Destination| {
            !destination.edus.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
        };
        if self.destinations.get(server).is_some_and(waiting) {
            return self.wake(server.to_owned());
        }
        self.destinations.remove(server);
    }

    fn pause(&mut self, server: OwnedServerName, pause: Duration) {
        self.pauses += 1;
        let number = self.pauses;
        self.destinations.entry(server.clone()).or_default().state = State::Paused(number);
        self.paused.insert(server.clone());
        let (own, shutdown) = (self.own.clone(), self.engine.shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {
                    if let Some(own) = own.upgrade() {
                        let _ = own.send(Command::PauseOver(server, number)).await;
                    }
                }
            }
        });
    }
}

/// The next facts; a failure to read them is waited out.
async fn next(engine: &Engine, facts: &mut Listener) -> Option<Arc<Vec<Positioned>>> {
    loop {
        match facts.next(engine.storage.db()).await {
            Ok(facts) => return facts,
            Err(error) => {
                tracing::error!(%error, "Facts could not be read");
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
    }
}

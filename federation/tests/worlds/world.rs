//! A world: servers, a network, rooms, and what happens, all drawn from one seed. One task does one thing
//! after the other, so a seed repeats all of it: what people do, what is delivered in which order and what
//! gets lost, the times, and (by [`repeatable`]) the IDs. What is not repeated is in which order a server
//! works on the rooms of one transaction.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomVersionId};
use starling_engine::{outbound, rng::repeatable};

use crate::{
    network::{Network, Rates},
    numbers::Numbers,
    people::{self, Doing, Told},
    server::Server,
};

/// The longest that a clock is moved at once, in milliseconds.
const JUMP_MS: usize = 6 * 60 * 60 * 1000;

/// How often all servers say something in the end, so that each hears of what the others have.
const LAST_WORDS: u32 = 4;

/// A room of the world.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) id: OwnedRoomId,
}

/// A world.
pub(crate) struct World {
    pub(crate) numbers: Numbers,
    pub(crate) network: Arc<Network>,
    pub(crate) servers: Vec<Server>,
    pub(crate) rooms: Vec<Room>,
    /// The versions that new rooms have.
    pub(crate) versions: Vec<RoomVersionId>,
    /// The events that were made, with the room's number.
    pub(crate) said: Vec<(usize, OwnedEventId)>,
    /// What a server did that it may never do.
    pub(crate) faults: Vec<String>,
    /// Whether the story is told while it happens.
    pub(crate) aloud: bool,
    step: u64,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Act,
    Deliver,
    Late,
    Complete,
    Weather,
    Cut,
    Restart,
    Clock,
}

const TURNS: [(usize, Turn); 8] = [
    (50, Turn::Act),
    (36, Turn::Deliver),
    (4, Turn::Late),
    (4, Turn::Complete),
    (2, Turn::Weather),
    (3, Turn::Cut),
    (1, Turn::Restart),
    (2, Turn::Clock),
];

impl World {
    /// A world of some servers with two users each, and a room of a version.
    pub(crate) async fn new(seed: u64, servers: usize, version: RoomVersionId) -> Self {
        repeatable::begin(Some(seed));
        let network = Arc::new(Network::new(seed));
        let mut world = Self {
            numbers: Numbers::new(seed),
            network: network.clone(),
            servers: vec![],
            rooms: vec![],
            versions: vec![version.clone()],
            said: vec![],
            faults: vec![],
            aloud: false,
            step: 0,
        };
        for name in ["a.org", "b.org", "c.org", "d.org"].iter().take(servers) {
            world.servers.push(Server::new(&network, name, &["u", "v"]).await);
        }
        let founder = world.numbers.below(servers);
        let founded = people::found(&mut world, founder, &version).await;
        assert!(founded.is_ok(), "{founded:?}");
        world
    }

    /// Whom somebody names when they want to join: another server, any.
    pub(crate) fn via(&mut self, at: usize) -> Vec<OwnedServerName> {
        let other = (at + 1 + self.numbers.below(self.servers.len() - 1)) % self.servers.len();
        vec![self.servers[other].name().to_owned()]
    }

    /// Something happens.
    pub(crate) async fn go_on(&mut self) {
        self.begin_step();
        match self.numbers.weighted(&TURNS) {
            Turn::Act => self.act().await,
            Turn::Deliver => {
                let from = self.numbers.below(self.servers.len());
                let to =
                    (from + 1 + self.numbers.below(self.servers.len() - 1)) % self.servers.len();
                self.deliver(from, to).await;
            }
            Turn::Late => {
                let which = self.numbers.below(self.network.late());
                self.network.arrive(which).await;
            }
            Turn::Complete => {
                let at = self.numbers.below(self.servers.len());
                self.servers[at].complete(0).await;
            }
            Turn::Weather => self.change_weather(),
            Turn::Cut => self.change_cut(),
            Turn::Restart => {
                let at = self.numbers.below(self.servers.len());
                self.tell(format_args!("{} restarts", self.servers[at].name()));
                self.servers[at].restart().await;
            }
            Turn::Clock => {
                let at = self.numbers.below(self.servers.len());
                let by = self.numbers.below(2 * JUMP_MS);
                let by = i64::try_from(by).unwrap() - i64::try_from(JUMP_MS).unwrap();
                self.tell(format_args!("the clock of {} jumps {by} ms", self.servers[at].name()));
                self.servers[at].clock.advance(by);
            }
        }
        self.end_step();
    }

    fn begin_step(&mut self) {
        self.step += 1;
        self.network.begin_step(self.step);
        for server in &self.servers {
            server.clock.advance(1_000);
        }
    }

    fn end_step(&self) {
        for line in self.network.take_log() {
            self.put(&line);
        }
    }

    fn tell(&self, line: impl std::fmt::Display) {
        self.put(&format!("{:4} {line}", self.step));
    }

    fn put(&self, line: &str) {
        if self.aloud {
            println!("{line}");
        }
    }

    async fn act(&mut self) {
        let (what, outcome) = people::act(self).await;
        let room = self.rooms.iter().position(|room| what.ends_with(room.id.as_str()));
        match outcome {
            Ok(made) => {
                let id = made.as_ref().map_or("done", |id| id.as_str()).to_owned();
                self.tell(format_args!("{what}: {id}"));
                self.said.extend(room.zip(made));
            }
            Err(Told::Refused(reason)) => self.tell(format_args!("{what}: refused, {reason}")),
            Err(Told::Broken(reason)) => {
                self.tell(format_args!("{what}: BROKEN, {reason}"));
                self.faults.push(format!("{what}: {reason}"));
            }
        }
    }

    async fn deliver(&mut self, from: usize, to: usize) -> bool {
        let to = self.servers[to].name().to_owned();
        self.tell(format_args!("{} sends to {to}", self.servers[from].name()));
        outbound::send_now(self.servers[from].engine(), &to).await
    }

    fn change_weather(&mut self) {
        let mut rate = |most: usize| self.numbers.below(most + 1);
        let rates = Rates {
            lost: rate(20),
            unanswered: rate(20),
            doubled: rate(20),
            late: rate(20),
            questions: rate(3) == 0,
        };
        self.tell(format_args!("{rates:?}"));
        self.network.set_rates(rates);
    }

    fn change_cut(&mut self) {
        let mut beyond = BTreeSet::new();
        if self.numbers.percent(60) {
            for server in &self.servers {
                if self.numbers.percent(40) {
                    beyond.insert(server.name().to_owned());
                }
            }
        }
        self.tell(format_args!("cut off: {beyond:?}"));
        self.network.cut(beyond);
    }

    /// The network heals, everything arrives, and everybody says a last word.
    pub(crate) async fn heal(&mut self) {
        self.begin_step();
        self.tell("all is well again");
        self.network.set_rates(Rates::default());
        self.network.cut(BTreeSet::new());
        while self.network.late() > 0 {
            self.network.arrive(0).await;
        }
        self.settle().await;
        self.finish_joins().await;
        self.settle().await;
        for word in 0..LAST_WORDS {
            self.say_last_words(word).await;
            self.settle().await;
        }
    }

    /// Everything that is on its way arrives.
    async fn settle(&mut self) {
        for round in 0..2 {
            self.begin_step();
            // Longer than the pause between two questions for a server's keys.
            for server in &self.servers {
                server.clock.advance(15 * 60 * 1000);
            }
            for from in 0..self.servers.len() {
                self.servers[from].complete(round).await;
                for to in (0..self.servers.len()).filter(|to| *to != from) {
                    if !self.deliver(from, to).await {
                        let (from, to) = (self.servers[from].name(), self.servers[to].name());
                        self.faults.push(format!("{from} cannot send to {to} though all is well"));
                    }
                }
            }
            self.end_step();
        }
    }

    /// Who is in a room for others, and not for their own server, which never heard the answer, asks again.
    async fn finish_joins(&mut self) {
        for room in self.rooms.clone() {
            let mut wanted = BTreeSet::new();
            for server in &self.servers {
                if server.joined(&room.id).await.is_empty() {
                    continue;
                }
                let members = server.members(&room.id).await;
                wanted.extend(members.into_iter().filter(|(_, it)| it == "join").map(|it| it.0));
            }
            for at in 0..self.servers.len() {
                let here = self.servers[at].joined(&room.id).await;
                let users = self.servers[at].users.clone();
                for user in users
                    .into_iter()
                    .filter(|user| wanted.contains(user.as_str()) && !here.contains(user.as_str()))
                {
                    for via in 0..self.servers.len() {
                        let doing = Doing { at, user: user.clone(), room: room.clone() };
                        let via = vec![self.servers[via].name().to_owned()];
                        let outcome = doing.join_via(self, via).await;
                        self.tell(format_args!("{user} asks again for {}: {outcome:?}", room.id));
                    }
                }
            }
        }
    }

    async fn say_last_words(&mut self, word: u32) {
        self.begin_step();
        for number in 0..self.rooms.len() {
            let room = self.rooms[number].clone();
            for at in 0..self.servers.len() {
                let joined = self.servers[at].joined(&room.id).await;
                let users = self.servers[at].users.clone();
                for user in users.into_iter().filter(|user| joined.contains(user.as_str())) {
                    let doing = Doing { at, user: user.clone(), room: room.clone() };
                    let mut outcome = match word % 2 {
                        0 => doing.show_up(self).await,
                        _ => doing.say(self, "the last word").await,
                    };
                    if matches!(outcome, Err(Told::Refused(_))) {
                        outcome = match word % 2 {
                            0 => doing.say(self, "the last word").await,
                            _ => doing.show_up(self).await,
                        };
                    }
                    self.tell(format_args!("{user} says a last word in {}: {outcome:?}", room.id));
                    match outcome {
                        Ok(made) => self.said.extend(made.map(|id| (number, id))),
                        Err(Told::Refused(_)) => {}
                        Err(Told::Broken(reason)) => self.faults.push(format!("{user}: {reason}")),
                    }
                }
            }
        }
        self.end_step();
    }
}

//! Graphs that a seed draws: branches that fork and come together again, and on them deeds that are mostly
//! allowed, with auth events that are mostly those of the state.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{
    chance::Chance,
    deeds::{self, Deed, Sight},
    house::House,
    model::{Chain, Model, Pdu, State},
};
use crate::evil::{Event, Room, references};

/// How often somebody does something without asking whether they may, in percent.
const RECKLESS: usize = 18;
/// How many things somebody thinks of until one is allowed.
const THOUGHTS: usize = 8;
/// How often the auth events are not those of the state, in percent.
const TWISTED: usize = 8;
/// How many branches there are at most.
const BRANCHES: usize = 5;
/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The seed.
    pub(super) seed: u64,
    /// How many events, those at the end not counted.
    pub(super) events: usize,
    /// Whether depths and content may be wrong, which orders what is asked for in ways of each server's own.
    pub(super) odd: bool,
}

/// A graph in a room.
#[derive(Debug)]
pub(super) struct Graph {
    /// The events after the beginning of the room, each after those it follows.
    pub(super) events: Vec<Event>,
    /// An event that is always accepted, because it follows the beginning of the room: the last one. Who has
    /// judged it has judged all before it.
    pub(super) probe: Event,
    /// A change of state that nothing follows: a server that is not given it must be found out.
    pub(super) control: Event,
    /// What the maker takes the states to be.
    pub(super) model: Model,
    /// The same, as Synapse reads the rules.
    pub(super) whole: Model,
}

struct Maker<'a> {
    house: &'a House,
    room: &'a Room,
    shape: Shape,
    /// The time of the first event, in milliseconds: later than that of the room, and before keys expire.
    begin: u64,
    chance: Chance,
    model: Model,
    whole: Model,
    /// The events that nothing follows yet.
    ends: Vec<String>,
    events: Vec<Event>,
    ids: Vec<String>,
}

/// Draws a graph that goes on from the end of a room.
pub(super) fn draw(house: &House, room: &Room, shape: Shape) -> Result<Graph> {
    let mut model = Model::new(&room.version, Chain::Below)?;
    let mut whole = Model::new(&room.version, Chain::Whole)?;
    for event in room.timeline() {
        model.place(&event)?;
        whole.place(&event)?;
    }
    let beginning = room.extremities();
    let mut maker = Maker {
        house,
        room,
        shape,
        begin: crate::evil::now(),
        chance: Chance::new(shape.seed, 1),
        model,
        whole,
        ends: beginning.clone(),
        events: Vec::new(),
        ids: Vec::new(),
    };
    for _ in 0..shape.events {
        maker.go_on()?;
    }
    maker.tie(&beginning)
}

impl Maker<'_> {
    fn go_on(&mut self) -> Result<()> {
        let prev = self.place()?;
        let before = self.model.before(&prev)?;
        let reckless = self.chance.percent(RECKLESS);
        let mut thought = None;
        for _ in 0..if reckless { 1 } else { THOUGHTS } {
            let sight = Sight {
                model: &self.model,
                before: &before,
                version: self.room.version.parse()?,
                people: &self.house.people,
                said: &self.ids,
            };
            let deed = deeds::draw(&mut self.chance, &sight);
            let draft = self.draft(&deed, &prev, &before)?;
            let event = self.house.seal(self.room, &draft)?;
            let allowed = self.model.allows(&Pdu::read(&event)?, &before);
            thought = Some(draft);
            if allowed {
                break;
            }
        }
        let mut draft = thought.context("nobody thought of anything")?;
        if self.chance.percent(TWISTED) {
            self.twist(&mut draft)?;
        }
        let event = self.timed(draft)?;
        let event = match self.shape.odd && event.kind() == "m.room.topic" {
            // Content that does not fit its hash is taken without itself.
            true if self.chance.percent(10) => {
                event.tampered(|pdu| pdu["content"]["topic"] = "not what was said".into())
            }
            _ => event,
        };
        self.keep(event)
    }

    /// After which events the next one comes: if one of them is rejected, also after those that it follows, for
    /// Synapse does not look beyond it when it tells what the ends of the graph are.
    fn place(&mut self) -> Result<Vec<String>> {
        let mut prev = self.choose()?;
        let mut at = 0;
        while let Some(placed) = prev.get(at).and_then(|id| self.model.get(id)) {
            if placed.pdu.is_rejected() {
                let before = references(&placed.event.pdu["prev_events"]);
                let new: Vec<String> = before.into_iter().filter(|id| !prev.contains(id)).collect();
                prev.extend(new);
            }
            at += 1;
        }
        Ok(prev)
    }

    fn choose(&mut self) -> Result<Vec<String>> {
        let at = self.chance.below(100);
        if self.ends.len() > 1 && (at < 15 || self.ends.len() >= BRANCHES) {
            let mut ends = self.ends.clone();
            self.chance.shuffle(&mut ends);
            ends.truncate(2 + self.chance.below(2));
            return Ok(ends);
        }
        let recent = self.ids.get(self.ids.len().saturating_sub(10)..).unwrap_or_default();
        if at < 45 && !recent.is_empty() {
            return Ok(vec![self.chance.one(recent).context("no events")?.clone()]);
        }
        Ok(vec![self.chance.one(&self.ends).context("no ends")?.clone()])
    }

    fn draft(&mut self, deed: &Deed, prev: &[String], before: &State) -> Result<Value> {
        let server = deed.sender.split_once(':').map_or("", |(_, server)| server);
        let mut draft = json!({
            "type": deed.kind,
            "sender": deed.sender,
            "room_id": self.room.id,
            "content": deed.content,
            "depth": self.depth(prev),
            "origin": server,
            "origin_server_ts": self.begin,
            "prev_events": self.room.references(prev.iter().map(String::as_str))?,
        });
        if let Some(key) = &deed.state_key {
            draft["state_key"] = key.as_str().into();
        }
        if let Some(redacted) = &deed.redacts {
            let inside = self.room.version.parse::<u32>()? >= 11;
            let place = if inside { &mut draft["content"] } else { &mut draft };
            place["redacts"] = redacted.as_str().into();
        }
        let authority = self.model.authority(&draft, before)?;
        draft["auth_events"] = self.room.references(authority.iter().map(String::as_str))?;
        Ok(draft)
    }

    fn depth(&mut self, prev: &[String]) -> i64 {
        let depths =
            prev.iter().filter_map(|id| self.model.get(id)?.event.pdu["depth"].as_i64()).max();
        let depth = depths.unwrap_or_default() + 1;
        match self.shape.odd && self.chance.percent(4) {
            true => (depth + [-3, -1, 2, 7].get(self.chance.below(4)).unwrap_or(&0)).max(1),
            false => depth,
        }
    }

    /// Lets other events authorise than those of the state.
    fn twist(&mut self, draft: &mut Value) -> Result<()> {
        let mut auth = references(&draft["auth_events"]);
        let at = self.chance.below(auth.len());
        let Some(one) = auth.get(at).and_then(|id| self.model.get(id)).cloned() else {
            return Ok(());
        };
        // Who joins without a join rule is judged differently.
        if one.event.kind() == "m.room.join_rules" {
            return Ok(());
        }
        let other = match self.chance.below(8) {
            0 => Some(one.event.id),
            // Not a message: Synapse fails on one and keeps nothing of the event.
            1 => {
                let state = |id: &&String| {
                    self.model.get(id).is_some_and(|it| it.event.state_key().is_some())
                };
                let all: Vec<String> = self.ids.iter().filter(state).cloned().collect();
                self.chance.one(&all).cloned()
            }
            2 => None,
            // The same piece of state from elsewhere: another branch, an older time, or rejected.
            _ => {
                let same = |other: &Event| {
                    other.kind() == one.event.kind() && other.state_key() == one.event.state_key()
                };
                let all: Vec<String> = self
                    .model
                    .all()
                    .filter(|it| same(&it.event))
                    .map(|it| it.event.id.clone())
                    .collect();
                self.chance.one(&all).cloned()
            }
        };
        if !self.chance.percent(10) {
            auth.remove(at);
        }
        auth.extend(other);
        draft["auth_events"] = self.room.references(auth.iter().map(String::as_str))?;
        Ok(())
    }

    /// Gives a draft its time, which is now and then that of another event, and seals it.
    ///
    /// Between events of the same time (of the same depth in room version 1) their ids decide, which hold the
    /// names of servers and keys: where an id comes among them is drawn too, so that a seed repeats the outcome.
    fn timed(&mut self, mut draft: Value) -> Result<Event> {
        let step = u64::try_from(self.ids.len())?;
        let last = self.ids.last().and_then(|id| self.model.get(id)).map(|it| it.pdu.time());
        let time = match last {
            Some(time) if self.chance.percent(15) => time,
            _ => self.begin + step * 1000 + u64::try_from(self.chance.below(8))? * 500,
        };
        draft["origin_server_ts"] = time.into();
        let first = self.room.version == "1";
        let rank = |event: &Event| match first {
            true => hex(&Sha1::digest(&event.id)),
            false => event.id.clone(),
        };
        let depth = draft["depth"].clone();
        let rivals: Vec<String> = self
            .events
            .iter()
            .filter(|event| match first {
                true => event.pdu["depth"] == depth,
                false => event.pdu["origin_server_ts"] == time,
            })
            .map(rank)
            .collect();
        let place = self.chance.below(rivals.len() + 1);
        for attempt in 0_u32.. {
            draft["content"]["org.example.nonce"] = attempt.into();
            if self.house.names_events(&self.room.version) {
                // An id is taken once on a server, whatever the room.
                let room = self.room.version.parse::<u64>()? * 2 + u64::from(self.shape.odd);
                let number = (self.shape.seed ^ (room << 48), step, attempt);
                draft["event_id"] = self.house.event_id(&draft, number).into();
            }
            let event = self.house.seal(self.room, &draft)?;
            let own = rank(&event);
            if rivals.iter().filter(|rival| **rival < own).count() == place {
                return Ok(event);
            }
        }
        anyhow::bail!("no id comes where it should")
    }

    fn keep(&mut self, event: Event) -> Result<()> {
        let placed = self.model.place(&event)?;
        self.whole.place(&event)?;
        self.house.serve(self.room, &placed);
        if !placed.pdu.is_rejected() {
            let prev = references(&event.pdu["prev_events"]);
            self.ends.retain(|id| !prev.contains(id));
        }
        self.ends.push(event.id.clone());
        self.ids.push(event.id.clone());
        self.events.push(event);
        Ok(())
    }

    /// Ends the graph: all branches come together, and there is an event after that.
    fn tie(mut self, begin: &[String]) -> Result<Graph> {
        let ends = self.ends.clone();
        self.end("together", &ends)?;
        let merge = self.ids.last().cloned();
        self.end("after", merge.as_slice())?;
        let probe = self.house.message("from the beginning");
        let control = Deed {
            kind: "org.example.control".to_owned(),
            state_key: Some(String::new()),
            ..self.house.message("control")
        };
        let control = self.apart(&control, begin)?;
        let probe = self.apart(&probe, begin)?;
        Ok(Graph { events: self.events, probe, control, model: self.model, whole: self.whole })
    }

    /// Somebody who may says something: the creator, or who comes first of the others.
    fn end(&mut self, text: &str, prev: &[String]) -> Result<()> {
        let before = self.model.before(prev)?;
        let deed = self.house.message(text);
        let mut draft = self.draft(&deed, prev, &before)?;
        for sender in &self.house.people {
            let event = self.house.seal(self.room, &draft)?;
            if self.model.allows(&Pdu::read(&event)?, &before) {
                break;
            }
            let deed = Deed { sender: sender.clone(), ..self.house.message(text) };
            draft = self.draft(&deed, prev, &before)?;
        }
        let event = self.timed(draft)?;
        self.keep(event)
    }

    /// An event beside the graph.
    fn apart(&mut self, deed: &Deed, prev: &[String]) -> Result<Event> {
        let before = self.model.before(prev)?;
        let draft = self.draft(deed, prev, &before)?;
        let event = self.timed(draft)?;
        let placed = self.model.place(&event)?;
        self.whole.place(&event)?;
        self.house.serve(self.room, &placed);
        self.ids.push(event.id.clone());
        Ok(event)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

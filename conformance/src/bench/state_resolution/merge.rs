//! The events of a merge: branches that disagree, what ties them together, and the state that must come of them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    evil::{Event, Peer, Room, now},
    random,
};

/// Users of the peer who are in the room.
#[derive(Debug)]
pub(super) struct People {
    /// Who may do everything.
    pub(super) creator: String,
    /// Who gets another name and another power level in each branch.
    pub(super) renamed: String,
    /// Who is banned in one branch and gets another name in the others.
    pub(super) banned: String,
}

/// Branches and what ties them together.
#[derive(Debug)]
pub(super) struct Merge {
    /// The events of one branch after the other, and a message of somebody who knows none of them.
    pub(super) branches: Vec<Event>,
    /// Follows the ends of all branches. That message stays another end of the room, so that the state before this
    /// event is not that of the whole room, which was resolved already.
    pub(super) tie: Event,
    /// Follows that one and the message.
    pub(super) last: Event,
    state: BTreeMap<(String, String), String>,
}

/// What must have come of several merges.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// By type and state key, the event that is in force.
    pub(super) state: BTreeMap<(String, String), String>,
    /// The events that tied branches together.
    pub(super) shown: Vec<String>,
}

impl Expected {
    /// What was in force is not any more where a later merge says something else.
    pub(super) fn extend(&mut self, merge: Merge) {
        self.state.extend(merge.state);
        self.shown.extend([merge.tie.id, merge.last.id]);
    }
}

impl Merge {
    /// Makes the events, and takes into the room what must come of them.
    pub(super) fn make(peer: &Peer, room: &Room, people: &People, forks: usize) -> Result<Self> {
        let aside =
            peer.put_in(&room.branch(), &room.message(&people.creator, "I saw nothing")?)?;
        let (latest, merge) = (now() + u64::try_from(forks)?, random::suffix()?);
        let mut branches = Vec::new();
        for number in 0..forks {
            let branch = Branch {
                key: format!("{merge} {number}"),
                number,
                // The first has the latest time, which decides where all have the same rights: what is in force is
                // not what came last.
                ts: latest - u64::try_from(number)?,
                bans: number + 1 == forks,
            };
            branches.push(branch.make(peer, room, people)?);
        }
        let state = winners(&branches)?;
        let ends: Vec<String> =
            branches.iter().filter_map(|branch| branch.last()).map(|end| end.id.clone()).collect();
        let (first, others) = branches.split_first().context("no branches")?;
        first.iter().for_each(|event| room.add(event));
        others.iter().flatten().chain([&aside]).for_each(|event| room.keep(event));
        let tie = tie(peer, room, people, &ends)?;
        let last = tie_both(peer, room, people, &tie, &aside)?;
        let branches = branches.into_iter().flatten().chain([aside]).collect();
        Ok(Self { branches, tie, last, state })
    }
}

/// One side of a fork.
struct Branch {
    /// The state key that only this one has.
    key: String,
    number: usize,
    ts: u64,
    bans: bool,
}

impl Branch {
    fn make(&self, peer: &Peer, room: &Room, people: &People) -> Result<Vec<Event>> {
        let People { creator, renamed, banned } = people;
        let side = room.branch();
        let power = room.state_event("m.room.power_levels", "").context("no power levels")?;
        let mut power = power.pdu["content"].clone();
        power["users"][renamed] = self.number.into();
        let name = |of: &str| {
            let name = format!("{of} in {}", self.key);
            json!({ "membership": "join", "displayname": name })
        };
        let ban = json!({ "membership": "ban" });
        let (who, what) = if self.bans { (creator, ban) } else { (banned, name("one of many")) };
        let said: [(&String, &str, &str, Value); 5] = [
            (creator, "m.room.power_levels", "", power),
            (creator, "m.room.topic", "", json!({ "topic": &self.key })),
            (renamed, "m.room.member", renamed, name("somebody")),
            (creator, "org.example.branch", &self.key, json!({})),
            (who, "m.room.member", banned, what),
        ];
        let events = said.into_iter().map(|(sender, kind, state_key, content)| {
            let mut draft = side.state_draft(sender, kind, state_key, content)?;
            draft["origin_server_ts"] = self.ts.into();
            peer.put_in(&side, &draft)
        });
        events.collect()
    }
}

/// What is in force of what the branches say. Those who change the power levels may all do so, and then the latest
/// change is applied last. Of everything else that is applied last which was said under these power levels; a ban is
/// applied before it, so that nobody gets a name who is banned. What one branch alone says stays.
///
/// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>
fn winners(branches: &[Vec<Event>]) -> Result<BTreeMap<(String, String), String>> {
    let mut state = BTreeMap::new();
    let ban = branches.last().and_then(|branch| branch.last()).context("no ban")?;
    for event in branches.iter().rev().flatten().chain([ban]) {
        let state_key = event.state_key().context("no state")?;
        state.insert((event.kind().to_owned(), state_key.to_owned()), event.id.clone());
    }
    Ok(state)
}

fn tie(peer: &Peer, room: &Room, people: &People, ends: &[String]) -> Result<Event> {
    let mut draft = room.message(&people.creator, "we are one again")?;
    draft["prev_events"] = room.references(ends.iter().map(String::as_str))?;
    peer.put_in(room, &draft)
}

fn tie_both(
    peer: &Peer,
    room: &Room,
    people: &People,
    tie: &Event,
    aside: &Event,
) -> Result<Event> {
    let mut draft = room.message(&people.creator, "and so are you")?;
    draft["prev_events"] = room.references([tie.id.as_str(), &aside.id])?;
    peer.put_in(room, &draft)
}

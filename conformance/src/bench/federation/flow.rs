//! Messages of users of one server, as a user of the other is told of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future;
use serde_json::{Value, json};

use super::pair::{Measured, Pair};
use crate::{
    bench::{
        measure::{Series, cpu_ms_each},
        process::Usage,
    },
    client::{Sync, User},
};

const POLL: Duration = Duration::from_secs(5);
/// How long nothing may come before what is missing counts as left out.
const STALL: Duration = Duration::from_secs(30);

/// Messages that several users send to a room.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Flow {
    /// What it is called.
    pub(in crate::bench) name: &'static str,
    /// How many.
    pub(in crate::bench) count: usize,
    /// How fast.
    pub(in crate::bench) pace: Pace,
}

/// How fast messages are sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Pace {
    /// So many in a second by all together, as long as the server keeps up.
    PerSecond(u32),
    /// Each user sends the next one when the last was acknowledged.
    AsFastAsPossible,
}

/// A message that was acknowledged.
#[derive(Clone, Debug)]
struct Said {
    event_id: String,
    at: Instant,
    taken: Duration,
}

/// A message that the other user was told of.
#[derive(Clone, Debug)]
struct Heard {
    event_id: String,
    at: Instant,
}

/// A room of both servers, between which the way is open.
#[derive(Debug)]
pub(in crate::bench) struct Shared {
    /// Users of the first server.
    senders: Vec<User>,
    room: String,
    /// A user of the second.
    follower: User,
    followed: Sync,
}

impl Shared {
    /// Makes one.
    pub(in crate::bench) async fn make(pair: &Pair) -> Result<Self> {
        let senders = pair.home.users("sender", pair.senders).await?;
        let room = pair.home.room(&senders).await?;
        let follower = pair.away.user("follower").await?;
        follower.join(&room, &[&pair.home_name]).await?;
        let mut followed = Sync::start(&follower).await?;
        // Each server knows of the other in the room when something came across.
        let owner = senders.first().context("nobody sends")?;
        let first = owner.send(&room, "org.example.first", json!({})).await?;
        followed.event_with_id(&room, &first).await?;
        Ok(Self { senders, room, follower, followed })
    }
}

impl Flow {
    /// Sends them, and looks at how they arrive.
    pub(super) async fn play(&self, pair: &Pair) -> Result<Measured> {
        let room = Shared::make(pair).await?;
        self.play_in(room, pair).await
    }

    /// The same in a room that is there.
    pub(in crate::bench) async fn play_in(&self, shared: Shared, pair: &Pair) -> Result<Measured> {
        let Shared { senders, room, follower, mut followed } = shared;
        let before = pair.begin()?;
        let begun = Instant::now();
        let (said, heard) = tokio::try_join!(
            self.say(&senders, &room, begun),
            hear(&mut followed, &room, self.count)
        )?;
        let usage = Usage::between(before, pair.usage()?);
        let heard = with_one_too_many(&mut followed, &room, heard).await?;
        let compared = Compared::of(&said, &heard)?;
        let last = heard.last().map_or(Duration::ZERO, |heard| heard.at - begun);
        let mut figures = BTreeMap::new();
        let count = said.iter().flatten().count();
        let history = History::of_missing(&follower, &room, &compared.missing).await?;
        figures.insert("missing in /sync", json!(compared.missing.len()));
        figures.insert("out of order", json!(compared.out_of_order));
        figures.insert("told twice", json!(compared.twice));
        let cpu_ms = cpu_ms_each(usage.cpu_seconds, count);
        figures.insert("CPU ms per message", json!((cpu_ms * 100.0).round() / 100.0));
        let sent = said.iter().flatten().map(|said| said.taken).collect();
        let acknowledged = said.iter().flatten().map(|said| said.at + said.taken).max();
        let sending = acknowledged.map_or(Duration::ZERO, |at| at - begun);
        Ok(Measured {
            series: vec![
                Series::new("until the other server's /sync has it", compared.taken.clone(), last),
                Series::new("send", sent, sending),
            ],
            usage,
            figures,
            flaw: flaw(pair.strict, &compared, &history),
        })
    }

    /// Every user sends its part, one message after the other.
    async fn say(&self, senders: &[User], room: &str, begun: Instant) -> Result<Vec<Vec<Said>>> {
        let parts = senders.iter().enumerate().map(|(first, user)| async move {
            let mut said = Vec::new();
            for number in (first..self.count).step_by(senders.len()) {
                if let Pace::PerSecond(rate) = self.pace {
                    let due = u32::try_from(number).map(|it| Duration::from_secs(1) * it / rate)?;
                    tokio::time::sleep_until((begun + due).into()).await;
                }
                let at = Instant::now();
                let event_id = user.say(room, &format!("message {number}")).await?;
                said.push(Said { event_id, at, taken: at.elapsed() });
            }
            anyhow::Ok(said)
        });
        future::try_join_all(parts).await
    }
}

/// Polls until so many messages came, or nothing comes any more.
async fn hear(followed: &mut Sync, room: &str, count: usize) -> Result<Vec<Heard>> {
    let (mut heard, mut looked_at) = (Vec::new(), followed.timeline(room).len());
    let (mut different, mut last) = (HashSet::new(), Instant::now());
    while different.len() < count && last.elapsed() < STALL {
        followed.poll(POLL).await?;
        let at = Instant::now();
        for message in messages(followed.timeline(room), looked_at, at) {
            if different.insert(message.event_id.clone()) {
                last = at;
            }
            heard.push(message);
        }
        looked_at = followed.timeline(room).len();
    }
    Ok(heard)
}

/// What came, with what comes in a moment in which nothing more should come.
async fn with_one_too_many(
    followed: &mut Sync,
    room: &str,
    mut heard: Vec<Heard>,
) -> Result<Vec<Heard>> {
    let known = followed.timeline(room).len();
    followed.poll(Duration::from_secs(1)).await?;
    heard.extend(messages(followed.timeline(room), known, Instant::now()));
    Ok(heard)
}

fn messages(timeline: &[Value], from: usize, at: Instant) -> impl Iterator<Item = Heard> {
    let new = timeline.iter().skip(from).filter(|event| event["type"] == "m.room.message");
    new.filter_map(move |event| {
        Some(Heard { event_id: event["event_id"].as_str()?.to_owned(), at })
    })
}

/// What was said beside what was heard.
#[derive(Debug, Default)]
struct Compared {
    /// How long each took that came.
    taken: Vec<Duration>,
    /// Those that did not come.
    missing: Vec<String>,
    /// How many came after a later one of the same user.
    out_of_order: usize,
    /// How often one came that had come already.
    twice: usize,
}

impl Compared {
    /// Fails when something came that was never said.
    fn of(said: &[Vec<Said>], heard: &[Heard]) -> Result<Self> {
        let mut places: HashMap<&str, (usize, Instant)> = HashMap::new();
        for (place, heard) in heard.iter().enumerate() {
            places.entry(&heard.event_id).or_insert((place, heard.at));
        }
        let mut compared = Self { twice: heard.len() - places.len(), ..Self::default() };
        for of_one in said {
            let mut furthest = None;
            for said in of_one {
                let Some((place, at)) = places.remove(said.event_id.as_str()) else {
                    compared.missing.push(said.event_id.clone());
                    continue;
                };
                compared.taken.push(at.saturating_duration_since(said.at));
                compared.out_of_order += usize::from(furthest > Some(place));
                furthest = furthest.max(Some(place));
            }
        }
        ensure!(places.is_empty(), "nobody said {:?}", places.keys());
        Ok(compared)
    }
}

/// Where those that `/sync` left out are in the room's history, which has so many events, the oldest first.
#[derive(Debug, Default)]
struct History {
    places: Vec<usize>,
    length: usize,
}

impl History {
    /// Not read if nothing was left out.
    async fn of_missing(follower: &User, room: &str, missing: &[String]) -> Result<Self> {
        if missing.is_empty() {
            return Ok(Self::default());
        }
        let history = follower.history(room).await?;
        let is_missing = |event: &Value| missing.iter().any(|id| event["event_id"] == id.as_str());
        let places = history.iter().enumerate().filter(|(_, event)| is_missing(event));
        Ok(Self { places: places.map(|(place, _)| place).collect(), length: history.len() })
    }
}

/// Other servers than Starling may leave events to those who page back, and tell some twice; what is in no
/// history is lost on any server.
fn flaw(strict: bool, compared: &Compared, history: &History) -> Option<String> {
    let Compared { missing, out_of_order, twice, .. } = compared;
    let (missing, History { places, length }) = (missing.len(), history);
    if missing > places.len() {
        return Some(format!("{} messages are lost", missing - places.len()));
    }
    let flawed = strict && missing + out_of_order + twice > 0;
    let flaw = format!("{missing} are missing, {out_of_order} out of order, {twice} doubled");
    flawed.then(|| match missing {
        0 => flaw,
        _ => format!("{flaw}; the missing ones are at {places:?} of {length} in the history"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ids: &[&str]) -> Vec<Said> {
        let said = |id: &&str| Said {
            event_id: (*id).to_owned(),
            at: Instant::now(),
            taken: Duration::ZERO,
        };
        ids.iter().map(said).collect()
    }

    fn heard(ids: &[&str]) -> Vec<Heard> {
        ids.iter().map(|id| Heard { event_id: (*id).to_owned(), at: Instant::now() }).collect()
    }

    #[test]
    fn what_is_missing_doubled_or_out_of_order_is_noticed() {
        let of = [said(&["$a1", "$a2", "$a3"]), said(&["$b1"])];
        let nowhere = History::default();
        let there = History { places: vec![7], length: 9 };
        let good = Compared::of(&of, &heard(&["$a1", "$b1", "$a2", "$a3"])).unwrap();
        assert_eq!((good.taken.len(), good.missing.len(), good.out_of_order), (4, 0, 0));
        assert_eq!(flaw(true, &good, &nowhere), None);
        let odd = Compared::of(&of, &heard(&["$a2", "$a1", "$a3"])).unwrap();
        assert_eq!((odd.taken.len(), odd.missing.len(), odd.out_of_order), (3, 1, 1));
        assert!(flaw(true, &odd, &there).unwrap().contains("[7] of 9"));
        assert!(flaw(false, &odd, &there).is_none() && flaw(false, &odd, &nowhere).is_some());
        let doubled = Compared::of(&of, &heard(&["$a1", "$a1"])).unwrap();
        assert_eq!((doubled.taken.len(), doubled.missing.len(), doubled.twice), (1, 3, 1));
        let twice = Compared::of(&of, &heard(&["$a1", "$b1", "$a2", "$a1", "$a3"])).unwrap();
        assert!(flaw(true, &twice, &nowhere).is_some() && flaw(false, &twice, &nowhere).is_none());
        assert!(Compared::of(&of, &heard(&["$x"])).is_err());
    }

    #[test]
    fn only_new_messages_are_heard() {
        let event = |kind: &str, id: &str| json!({ "type": kind, "event_id": id });
        let timeline = [
            event("m.room.message", "$old"),
            event("m.room.name", "$name"),
            event("m.room.message", "$new"),
        ];
        let ids: Vec<_> =
            messages(&timeline, 1, Instant::now()).map(|heard| heard.event_id).collect();
        assert_eq!(ids, ["$new"]);
    }
}

//! Users of one server join rooms of the other.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::pair::{Measured, Pair};
use crate::{
    bench::{
        load::{self, numbered},
        measure::Series,
        process::Usage,
    },
    client::{User, path},
};

const ROOMS: usize = 10;
const MEMBERS: usize = 20;
const MESSAGES: usize = 50;
/// The tenth of them is measured.
const GUESTS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);

/// Lets ten users of the second server join each room: the first of them has to be let in by the first
/// server, the tenth comes to a room that its own server is in.
pub(super) async fn play(pair: &Pair) -> Result<Measured> {
    let members = pair.home.users("member", pair.home.scaled(MEMBERS)).await?;
    let owner = members.first().context("nobody makes rooms")?;
    let mut rooms = Vec::new();
    for _ in 0..pair.home.scaled(ROOMS) {
        let room = pair.home.room(&members).await?;
        load::fill(&pair.home, owner, &room, numbered(pair.home.scaled(MESSAGES))).await?;
        rooms.push(room);
    }
    let guests = pair.away.users("guest", GUESTS).await?;
    let before = pair.begin()?;
    let (mut first, mut tenth) = (Vec::new(), Vec::new());
    for room in &rooms {
        let mut taken = Vec::new();
        for guest in &guests {
            let begun = Instant::now();
            guest.join(room, &[&pair.home_name]).await?;
            taken.push(begun.elapsed());
        }
        first.extend(taken.first());
        tenth.extend(taken.last());
    }
    for room in &rooms {
        all_know(&members, &guests, room).await?;
    }
    let usage = Usage::between(before, pair.usage()?);
    let others = first.split_off(1);
    let series = |name, taken: Vec<Duration>| {
        let elapsed = taken.iter().sum();
        Series::new(name, taken, elapsed)
    };
    Ok(Measured {
        series: vec![
            series("first join of all", first),
            series("first of another room", others),
            series("10th of a room", tenth),
        ],
        usage,
        figures: BTreeMap::new(),
        flaw: None,
    })
}

/// Waits until both servers know every member of a room.
async fn all_know(members: &[User], guests: &[User], room: &str) -> Result<()> {
    let count = members.len() + guests.len();
    for user in members.first().into_iter().chain(guests.last()) {
        let begun = Instant::now();
        let target = path("/_matrix/client/v3/rooms/{}/joined_members", &[room]);
        loop {
            let answer = user.api.get(&target).await?.ok()?;
            let known = answer["joined"].as_object().context("no members")?.len();
            if known == count {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "{} knows {known} of {count} members", user.id);
            tokio::time::sleep(GLANCE).await;
        }
    }
    Ok(())
}

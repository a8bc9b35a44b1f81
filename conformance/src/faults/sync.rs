//! Nothing is missed by /sync, nothing comes twice or out of order, however many write at once, whoever comes
//! back when and from wherever, also while the server stands still in between.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::crowd::Crowd;
use crate::{
    client::{Sync, User},
    random,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many clients stay away, to come back to where they were.
const AWAY: usize = 6;
/// The longest poll, and the longest pause between two.
const LONGEST_MS: u64 = 300;
/// How often a client goes away, and another one comes back in its place.
const CHANGES: f64 = 0.15;
/// How long the server stands still at most, and works in between.
const STILL_MS: u64 = 150;
const WORKS_MS: u64 = 1000;

/// How the test of /sync is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How many events are sent with each number of writers.
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    /// How many devices write at once, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    writers: Vec<usize>,
    /// How many clients read at once.
    #[arg(long, default_value_t = 4)]
    readers: usize,
    /// Repeats the moments of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What the clients came to.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    events: usize,
    polls: usize,
    came_back: usize,
    still: usize,
}

/// Runs with each number of writers and tells whether everything held.
pub async fn run(options: Options) -> Result<bool> {
    let seed = options.seed.map_or_else(random::seed, Ok)?;
    say(&format!("seed: {seed}"));
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(Kind::Starling)?.on(database).start(&TestCa::new()?).await?;
    let mut report = Report::default();
    let mut sum = Figures::default();
    for writers in &options.writers {
        let name = format!("{} events by {writers} at once", options.events);
        let work = async {
            let figures = play(&server, &options, *writers, seed).await?;
            sum.events += figures.events;
            sum.polls += figures.polls;
            sum.came_back += figures.came_back;
            sum.still += figures.still;
            Ok(())
        };
        report.case(&name, work).await;
    }
    report.figure("seed", seed);
    report.figure("events_verified", sum.events);
    report.figure("polls", sum.polls);
    report.figure("clients_that_came_back", sum.came_back);
    report.figure("times_the_server_stood_still", sum.still);
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

async fn play(server: &Server, options: &Options, writers: usize, seed: u64) -> Result<Figures> {
    let mut crowd = Crowd::start(server, writers).await?;
    let (over, is_over) = watch::channel(false);
    let (mut reading, mut figures) = (JoinSet::new(), Figures::default());
    for number in 0..options.readers {
        let sync = Sync::start(crowd.watcher()).await?;
        let rng = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        reading.spawn(read(sync, rng, is_over.clone()));
    }
    let mut rng = StdRng::seed_from_u64(seed.wrapping_sub(1));
    while crowd.seen().acknowledged < options.events {
        // What stands still for longer would only make the run longer.
        let works = Duration::from_millis(rng.random_range(1..=WORKS_MS));
        let _ = tokio::time::timeout(works, crowd.more(options.events)).await;
        server.signal("STOP")?;
        sleep(Duration::from_millis(rng.random_range(1..=STILL_MS))).await;
        server.signal("CONT")?;
        figures.still += 1;
        crowd.more(1).await?;
    }
    let (watcher, rooms) = (crowd.watcher().clone(), crowd.rooms().to_vec());
    figures.events = crowd.end().await?;
    over.send_replace(true);
    while let Some(read) = reading.join_next().await {
        let read = read??;
        figures.polls += read.polls;
        figures.came_back += read.came_back;
        for mut sync in read.clients {
            verify(&watcher, &rooms, &mut sync).await?;
        }
    }
    ensure!(figures.came_back > 0 || figures.events < 1000, "nobody came back");
    Ok(figures)
}

/// What one reader leaves: every client, wherever it is.
struct Readers {
    clients: Vec<Sync>,
    polls: usize,
    came_back: usize,
}

/// Reads at moments made by chance. Now and then the client stays where it is, and another goes on that has
/// been away: so there are tokens of every age.
async fn read(mut sync: Sync, mut rng: StdRng, over: watch::Receiver<bool>) -> Result<Readers> {
    let mut read = Readers { clients: Vec::new(), polls: 0, came_back: 0 };
    while !*over.borrow() {
        sync.poll(Duration::from_millis(rng.random_range(0..=LONGEST_MS))).await?;
        read.polls += 1;
        if rng.random_bool(0.5) {
            sleep(Duration::from_millis(rng.random_range(0..=LONGEST_MS))).await;
        }
        if !rng.random_bool(CHANGES) {
            continue;
        }
        if read.clients.len() < AWAY {
            read.clients.push(sync.clone());
            continue;
        }
        let back = rng.random_range(0..read.clients.len());
        if let Some(back) = read.clients.get_mut(back) {
            std::mem::swap(back, &mut sync);
            read.came_back += 1;
        }
    }
    read.clients.push(sync);
    Ok(read)
}

/// Lets a client come to the end of all rooms, and compares what it saw with what is there.
async fn verify(watcher: &User, rooms: &[String], sync: &mut Sync) -> Result<()> {
    let mut quiet = 0;
    while quiet < 2 {
        let before = seen(sync, rooms);
        sync.poll(Duration::ZERO).await?;
        quiet = if seen(sync, rooms) == before { quiet + 1 } else { 0 };
    }
    for room in rooms {
        let history = watcher.history(room).await?;
        compare(&ids(&history), &ids(sync.timeline(room))).with_context(|| room.clone())?;
    }
    Ok(())
}

fn seen(sync: &Sync, rooms: &[String]) -> usize {
    rooms.iter().map(|room| sync.timeline(room).len()).sum()
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event_id"].as_str()).collect()
}

/// Fails unless a client saw exactly what is there, in its order, from where it began.
fn compare(there: &[&str], seen: &[&str]) -> Result<()> {
    let first = seen.first().context("it saw nothing")?;
    let begin = there.iter().position(|id| id == first).context("it saw what is not there")?;
    for (place, (there, seen)) in there.iter().skip(begin).zip(seen).enumerate() {
        ensure!(there == seen, "at place {place} stands {there}, and it saw {seen}");
    }
    let (there, seen) = (there.len() - begin, seen.len());
    ensure!(there == seen, "there are {there} events, and it saw {seen}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_doubled_or_out_of_order_is_noticed() {
        let there = ["a", "b", "c", "d"];
        compare(&there, &there).unwrap();
        compare(&there, &["b", "c", "d"]).unwrap();
        for seen in [
            &["a", "c", "d"][..],
            &["a", "b", "c"],
            &["a", "b", "b", "c", "d"],
            &["a", "c", "b", "d"],
            &["a", "b", "c", "d", "e"],
            &["x"],
            &[],
        ] {
            assert!(compare(&there, seen).is_err(), "{seen:?}");
        }
    }
}

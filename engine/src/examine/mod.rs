//! Looking at everything that is stored, for what does not fit together. Nothing is changed, and no engine is
//! needed: the server may run meanwhile, or not.
//!
//! What follows from events and is made anew from them is not looked at: unread numbers, notifications, the words
//! of the search, the directory of users, ranks. Neither is what clients alone can read: keys, account data.

mod event;
mod events;
mod files;
mod members;
mod states;

use ruma::ServerName;
use starling_storage::{Db, DbError, blobs::Blobs, examine as rows};

use crate::internal::Internal;

/// How many wrong things of one part are named. The others are counted.
const MOST_NAMED: usize = 10_000;

/// How many rows are read at a time.
const PAGE: i64 = 500;

/// What is looked at, and of whom it is.
#[derive(Debug)]
pub struct Examined<'a> {
    /// The database ([`rows::open`]).
    pub db: &'a Db,
    /// The store of files.
    pub blobs: &'a Blobs,
    /// The name of this server.
    pub server_name: &'a ServerName,
}

/// What was found out about one part.
#[derive(Debug, Default)]
pub struct Found {
    /// How many things were looked at.
    pub looked_at: u64,
    /// How many of them could not be judged, because a key is not known.
    pub unjudged: u64,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
    /// How many more things are wrong.
    pub more: u64,
}

impl Found {
    fn wrong(&mut self, what: String) {
        match self.wrong.len() < MOST_NAMED {
            true => self.wrong.push(what),
            false => self.more += 1,
        }
    }

    /// Notes that something could not be read, and gives what could.
    fn read<T, E: std::fmt::Display>(&mut self, what: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.wrong(format!("{what} cannot be read: {error}"))).ok()
    }
}

/// A part of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file of the database.
    File,
    /// The events, one by one.
    Events,
    /// Places, positions, and the graph.
    Order,
    /// The states of rooms, and their members.
    States,
    /// Files that were uploaded or fetched.
    Media,
}

impl Part {
    /// All parts, in the order in which they are looked at.
    pub const ALL: [Self; 5] = [Self::File, Self::Events, Self::Order, Self::States, Self::Media];
}

/// Looks at one part. What cannot be read is wrong.
pub async fn look_at(examined: &Examined<'_>, part: Part) -> Found {
    let mut found = Found::default();
    let looked = match part {
        Part::File => file(examined, &mut found).await,
        Part::Events => events::look(examined, &mut found).await,
        Part::Order => order(examined, &mut found).await,
        Part::States => states::look(examined, &mut found).await,
        Part::Media => files::look(examined, &mut found).await,
    };
    found.read("the rest", looked);
    found
}

async fn file(examined: &Examined<'_>, found: &mut Found) -> Result<(), Internal> {
    found.looked_at = 1;
    rows::file(examined.db).await?.into_iter().for_each(|line| found.wrong(line));
    Ok(())
}

async fn order(examined: &Examined<'_>, found: &mut Found) -> Result<(), Internal> {
    contradictions(examined, &rows::OF_ORDER, found).await;
    Ok(())
}

/// Looks for what tables may not say of each other. One statement that fails does not keep the others from
/// being tried.
async fn contradictions(
    examined: &Examined<'_>,
    statements: &[rows::Contradiction],
    found: &mut Found,
) {
    for statement in statements {
        found.looked_at += 1;
        let places = places(examined, statement).await;
        for place in found.read(statement.says, places).into_iter().flatten() {
            found.wrong(format!("{}: {place}", statement.says));
        }
    }
}

async fn places(
    examined: &Examined<'_>,
    statement: &rows::Contradiction,
) -> Result<Vec<String>, DbError> {
    let mut conn = examined.db.read().await?;
    rows::find(&mut conn, statement, MOST_NAMED as i64).await
}

#[cfg(test)]
mod tests;

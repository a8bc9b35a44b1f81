//! Rooms in which so much is said that the database has as many bytes as are wanted.

use anyhow::{Context as _, Result};
use rand::{
    SeedableRng as _,
    distr::{Alphanumeric, SampleString as _},
    rngs::StdRng,
};

use crate::{
    bench::{disk::stored, measure, stage::Stage},
    client::User,
    servers::Server,
};

/// How many users speak, each in some of the rooms.
const SPEAKERS: usize = 8;
/// How many messages are sent to each room before the database is weighed. The first of them is long.
const AT_A_TIME: usize = 2;
/// How many messages of a room are short at its end, as most are that people look at: as many as a client shows first.
const RECENT: usize = 20;
/// How many messages are sent to each room before the server ends.
const NEWS: usize = 2;
/// The bytes of a long body. With all that belongs to it an event has 65,536 at most.
const LONG: usize = 60_000;
/// What all short messages say, beside their numbers.
const SHORT: &str = "what is said here is no longer than what most people say";

/// A server with much in it, and somebody who was told of it.
#[derive(Debug)]
pub(super) struct Filled {
    speakers: Vec<User>,
    /// A member of all rooms.
    pub(super) follower: User,
    pub(super) rooms: Vec<Spoken>,
}

/// A room, and what was acknowledged in it.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) id: String,
    pub(super) number: usize,
    /// In their order. What each says follows from its number.
    pub(super) said: Vec<Said>,
}

/// A message that was acknowledged.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) event_id: String,
    pub(super) is_long: bool,
}

impl Filled {
    /// Makes the rooms.
    pub(super) async fn new(stage: &Stage, rooms: usize) -> Result<Self> {
        let speakers = stage.users("speaker", SPEAKERS.min(rooms)).await?;
        let follower = stage.user("follower").await?;
        let (numbers, both) = (0..rooms, (&speakers, &follower));
        let (_, rooms) = measure::each("room", stage.concurrency, numbers, |number| async move {
            let (speakers, follower) = both;
            let speaker = speaker(speakers, number)?;
            let id = stage.room(&[speaker.clone(), follower.clone()]).await?;
            Ok(Spoken { id, number, said: Vec::new() })
        })
        .await?;
        Ok(Self { speakers, follower, rooms })
    }

    /// Speaks until the database has so many bytes, and then a little more.
    pub(super) async fn until(&mut self, stage: &Stage, server: &Server, bytes: u64) -> Result<()> {
        self.say(stage, AT_A_TIME, 1).await?;
        while stored(server)? < bytes {
            self.say(stage, AT_A_TIME, 1).await?;
        }
        self.say(stage, RECENT, 0).await
    }

    /// Some short messages in each room.
    pub(super) async fn say_news(&mut self, stage: &Stage) -> Result<()> {
        self.say(stage, NEWS, 0).await
    }

    /// How many messages were acknowledged.
    pub(super) fn messages(&self) -> usize {
        self.rooms.iter().map(|room| room.said.len()).sum()
    }

    /// Sends so many messages to each room, to several rooms at once, and in each room one after the other. So many of
    /// them are long.
    async fn say(&mut self, stage: &Stage, count: usize, long: usize) -> Result<()> {
        let (speakers, rooms) = (&self.speakers, std::mem::take(&mut self.rooms));
        let speak = |mut room: Spoken| async move {
            let speaker = speaker(speakers, room.number)?;
            for place in 0..count {
                let is_long = place < long;
                let body = body(room.number, room.said.len(), is_long);
                let event_id = speaker.say(&room.id, &body).await?;
                room.said.push(Said { event_id, is_long });
            }
            Ok(room)
        };
        let (_, mut rooms) = measure::each("speak", stage.concurrency, rooms, speak).await?;
        rooms.sort_by_key(|room| room.number);
        self.rooms = rooms;
        Ok(())
    }
}

fn speaker(speakers: &[User], room: usize) -> Result<&User> {
    speakers.get(room % speakers.len().max(1)).context("nobody speaks")
}

/// What a message of a room says, the same each time. A long one is a single word drawn by chance: like what is
/// encrypted, it can hardly be compressed, and it puts one word into the index for searches.
pub(super) fn body(room: usize, message: usize, is_long: bool) -> String {
    let begin = format!("message {message} of room {room}: ");
    if !is_long {
        return begin + SHORT;
    }
    let seed = u64::try_from(room).unwrap_or_default() << 32;
    let mut rng = StdRng::seed_from_u64(seed + u64::try_from(message).unwrap_or_default());
    begin + &Alphanumeric.sample_string(&mut rng, LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_differ_and_are_the_same_each_time() {
        let long = body(3, 4, true);
        assert!((LONG..LONG + 40).contains(&long.len()), "{}", long.len());
        assert!(body(3, 4, true) == long && body(3, 5, true) != long);
        let shorts = [body(3, 4, false), body(4, 3, false), body(3, 5, false)];
        assert!(shorts[0] != shorts[1] && shorts[0] != shorts[2]);
    }
}

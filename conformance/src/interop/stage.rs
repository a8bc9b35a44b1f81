//! Two servers with a user on each, and the ways in which a guest gets into a room.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    client::{Sync, User},
    servers::Server,
};

/// The room of each case is created by `alice` on `home`; `bob` is the guest from `away`.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// The server on which the rooms are created.
    pub(super) home: &'a Server,
    /// The server from which the guest comes.
    pub(super) away: &'a Server,
    /// The user on `home`.
    pub(super) alice: User,
    /// The user on `away`.
    pub(super) bob: User,
}

impl<'a> Stage<'a> {
    /// Registers a user on each server.
    pub(super) async fn set(home: &'a Server, away: &'a Server) -> Result<Self> {
        let alice = User::register(home, "alice").await?;
        let bob = User::register(away, "bob").await?;
        Ok(Self { home, away, alice, bob })
    }

    /// Creates a room that anybody can join and lets the guest join it.
    pub(super) async fn joint_room(&self) -> Result<String> {
        self.joint_room_with(json!({ "preset": "public_chat" })).await
    }

    /// Creates a room with these options and lets the guest join it.
    pub(super) async fn joint_room_with(&self, options: Value) -> Result<String> {
        let room = self.alice.create_room(options).await?;
        self.bob.join(&room, &[self.home.name()]).await?;
        Ok(room)
    }

    /// The streams of both users, begun now.
    pub(super) async fn follow(&self) -> Result<(Sync, Sync)> {
        Ok((Sync::start(&self.alice).await?, Sync::start(&self.bob).await?))
    }
}

/// The bodies of the messages of one sender, in their order.
pub(super) fn bodies<'a>(events: &'a [Value], sender: &str) -> Vec<&'a str> {
    let messages = events.iter().filter(|event| event["type"] == "m.room.message");
    messages
        .filter(|event| event["sender"] == sender)
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

/// Fails unless these are exactly the bodies `first`, `first + 1` … of a counting sender.
pub(super) fn ensure_counted(found: &[&str], count: usize, whose: &str) -> Result<()> {
    let wanted: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
    let odd = found.iter().zip(&wanted).position(|(found, wanted)| *found != wanted);
    ensure!(odd.is_none(), "{whose}: not in order or not once: {found:?}");
    ensure!(found.len() == count, "{whose}: {} messages and not {count}", found.len());
    Ok(())
}

/// Sends `count` messages one after the other, numbered from 0.
pub(super) async fn count_aloud(user: &User, room: &str, count: usize) -> Result<()> {
    for number in 0..count {
        user.say(room, &format!("message {number}")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_twice_or_out_of_order_or_missing_is_noticed() {
        assert!(ensure_counted(&["message 0", "message 1"], 2, "x").is_ok());
        assert!(ensure_counted(&["message 0", "message 0"], 2, "x").is_err());
        assert!(ensure_counted(&["message 1", "message 0"], 2, "x").is_err());
        assert!(ensure_counted(&["message 0"], 2, "x").is_err());
        assert!(ensure_counted(&["message 0", "message 1", "message 1"], 2, "x").is_err());
    }
}

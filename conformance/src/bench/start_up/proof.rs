//! The proof that nothing that was acknowledged is lost.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::fill::{Filled, Said, Spoken, body};
use crate::{
    bench::load::{self, Acknowledged},
    client::{User, path},
};

/// How many rooms are read whole.
const READ: usize = 5;

impl Filled {
    /// Fails unless the last message of each room is its last one, and in some rooms every message is there once, in
    /// order, and says what it said.
    pub(super) async fn verify(&self) -> Result<()> {
        for room in &self.rooms {
            ends_well(&self.follower, room).await?;
        }
        for room in self.rooms.iter().step_by(self.rooms.len().div_ceil(READ).max(1)) {
            let history = self.follower.history(&room.id).await?;
            is_whole(room, &history)?;
        }
        Ok(())
    }
}

async fn ends_well(user: &User, room: &Spoken) -> Result<()> {
    let target = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1", &[&room.id]);
    let page = user.api.get(&target).await?.ok()?;
    let last = last(room)?;
    ensure!(page["chunk"][0]["event_id"] == last, "{} does not end with {last}", room.id);
    Ok(())
}

fn last(room: &Spoken) -> Result<&str> {
    Ok(&room.said.last().context("nobody spoke")?.event_id)
}

fn is_whole(room: &Spoken, history: &[Value]) -> Result<()> {
    let mut acknowledged = Acknowledged::default();
    for (message, Said { event_id, is_long }) in room.said.iter().enumerate() {
        acknowledged.note(event_id.clone(), body(room.number, message, *is_long))?;
    }
    acknowledged.verify(history)?;
    load::in_order(room.said.iter().map(|said| said.event_id.as_str()), history)
}

/// Fails unless an answer to /sync has the last message of each room at the end.
pub(super) fn shows_the_latest(filled: &Filled, answer: &Value) -> Result<()> {
    for room in &filled.rooms {
        let timeline = &answer["rooms"]["join"][&room.id]["timeline"]["events"];
        let shown = timeline.as_array().and_then(|events| events.last());
        let shown = shown.map(|event| &event["event_id"]);
        let last = last(room)?;
        ensure!(shown.is_some_and(|id| id == last), "/sync ends with {shown:?}, not {last}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_lost_or_out_of_order_is_noticed() {
        let said = [0, 1, 2].map(|number| Said { event_id: format!("${number}"), is_long: false });
        let room = Spoken { id: "!r".into(), number: 7, said: said.into() };
        let event = |number: usize| {
            let content = json!({ "body": body(7, number, false) });
            json!({ "type": "m.room.message", "event_id": format!("${number}"), "content": content })
        };
        is_whole(&room, &[event(0), event(1), event(2)]).unwrap();
        assert!(is_whole(&room, &[event(0), event(1)]).is_err());
        assert!(is_whole(&room, &[event(1), event(0), event(2)]).is_err());
    }
}

//! Describing rooms and what is in a space.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::json;

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, path};

const ROOMS: usize = 100;
const LOOKS: usize = 400;
const WALKS: usize = 40;
const HIERARCHY: &str = "/_matrix/client/v1/rooms/{}/hierarchy?limit=50";

/// Somebody who is in none of its rooms looks into a space.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    looker: Option<User>,
    space: String,
    rooms: Vec<String>,
    seen: Vec<Vec<String>>,
}

impl Scenario for Spaces {
    fn name(&self) -> &str {
        "spaces"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let owner = stage.user("owner").await?;
            let server = owner.id.split_once(':').map_or("", |(_, server)| server);
            let space =
                json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
            self.space = owner.create_room(space).await?;
            for number in 0..stage.scaled(ROOMS) {
                let body = json!({ "preset": "public_chat", "name": format!("Room {number}") });
                let room = owner.create_room(body).await?;
                let via = json!({ "via": [server] });
                owner.set_state(&self.space, "m.space.child", &room, via).await?;
                self.rooms.push(room);
            }
            self.looker = Some(stage.user("looker").await?);
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let looker = self.looker.as_ref().context("nobody looks")?;
            let rooms = self.rooms.iter().cycle().take(stage.scaled(LOOKS));
            let (summary, _) = measure::each("room summary", stage.concurrency, rooms, |room| {
                summary(looker, room)
            })
            .await?;
            let (space, walks) = (self.space.as_str(), 0..stage.scaled(WALKS));
            let (hierarchy, seen) =
                measure::each("hierarchy, all pages", stage.concurrency, walks, |_| {
                    walk(looker, space)
                })
                .await?;
            self.seen = seen;
            Ok(vec![summary, hierarchy])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let wanted: BTreeSet<&String> = self.rooms.iter().chain([&self.space]).collect();
            for seen in &self.seen {
                let once: BTreeSet<&String> = seen.iter().collect();
                ensure!(once == wanted, "{} rooms of {} were shown", once.len(), wanted.len());
                ensure!(seen.len() == once.len(), "a room was shown twice");
            }
            Ok(())
        })
    }
}

/// Fails when it is the summary of another room.
async fn summary(user: &User, room: &str) -> Result<()> {
    let target = path("/_matrix/client/v1/room_summary/{}", &[room]);
    let summary = user.api.get(&target).await?.ok()?;
    ensure!(summary["room_id"] == room, "{room} is described as {summary}");
    Ok(())
}

/// The rooms of the hierarchy below a space, from its first page to its last.
async fn walk(user: &User, space: &str) -> Result<Vec<String>> {
    let mut rooms = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let mut target = path(HIERARCHY, &[space]);
        if let Some(from) = &from {
            target.push_str(&path("&from={}", &[from]));
        }
        let page = user.api.get(&target).await?.ok()?;
        let shown = page["rooms"].as_array().context("no rooms")?;
        let ids = shown.iter().filter_map(|room| room["room_id"].as_str());
        rooms.extend(ids.map(str::to_owned));
        from = page["next_batch"].as_str().map(str::to_owned);
        if from.is_none() {
            return Ok(rooms);
        }
    }
}

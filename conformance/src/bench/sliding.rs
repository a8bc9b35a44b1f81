//! Looking at a part of one's rooms.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, encode};

const ROOMS: usize = 1_000;
const SYNCS: usize = 50;

/// What a window shows at first.
const WINDOW: usize = 20;

/// A user of very many rooms begins with a new client that shows the most active of them, looks for news
/// where there are none, and looks at all rooms.
#[derive(Debug, Default)]
pub(super) struct Sliding {
    users: Vec<User>,
    rooms: usize,
    first: Vec<Value>,
    all: Vec<Value>,
}

impl Scenario for Sliding {
    fn name(&self) -> &str {
        "sliding"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("looker", 2).await?;
            self.rooms = stage.scaled(ROOMS);
            let users = &self.users;
            measure::each("rooms", stage.concurrency, 0..self.rooms, |_| async {
                let room = stage.room(users).await?;
                users.first().context("nobody speaks")?.say(&room, "hello").await
            })
            .await?;
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let looker = self.users.last().context("nobody looks")?;
            let syncs = stage.scaled(SYNCS);
            let (initial, first) =
                measure::each("initial, 20 rooms", 1, 0..syncs, |_| look(looker, WINDOW, None))
                    .await?;
            self.first = first;
            let pos = self.first.last().and_then(|it| it["pos"].as_str()).context("no pos")?;
            let (idle, _) = measure::each("incremental, no news", 1, 0..4 * syncs, |_| {
                look(looker, WINDOW, Some(pos))
            })
            .await?;
            let everything = self.rooms;
            let (whole, all) =
                measure::each("initial, all rooms", 1, 0..syncs.div_ceil(10), |_| {
                    look(looker, everything, None)
                })
                .await?;
            self.all = all;
            Ok(vec![initial, idle, whole])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            for (answers, wanted) in
                [(&self.first, self.rooms.min(WINDOW)), (&self.all, self.rooms)]
            {
                for answer in answers {
                    let count = answer["lists"]["all"]["count"].as_u64();
                    ensure!(count == Some(self.rooms as u64), "the list has {count:?} rooms");
                    let rooms = answer["rooms"].as_object().context("no rooms")?;
                    ensure!(rooms.len() == wanted, "only {} rooms", rooms.len());
                    let said = |room: &Value| room["timeline"][0]["content"]["body"] == "hello";
                    ensure!(rooms.values().all(said), "a room does not show what was said last");
                }
            }
            Ok(())
        })
    }
}

/// A request for the most active rooms, as a client with a list of rooms makes it.
async fn look(user: &User, rooms: usize, pos: Option<&str>) -> Result<Value> {
    let required_state = json!([
        ["m.room.create", ""],
        ["m.room.name", ""],
        ["m.room.avatar", ""],
        ["m.room.encryption", ""],
        ["m.room.power_levels", ""],
        ["m.room.tombstone", ""],
        ["m.room.member", "$LAZY"],
        ["m.room.member", "$ME"],
        ["m.space.child", "*"],
    ]);
    let list = json!({
        "ranges": [[0, rooms.saturating_sub(1)]],
        "timeline_limit": 1,
        "required_state": required_state,
    });
    let mut target =
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0".to_owned();
    if let Some(pos) = pos {
        target.push_str(&format!("&pos={}", encode(pos)));
    }
    user.api.post(&target, json!({ "conn_id": "bench", "lists": { "all": list } })).await?.ok()
}

//! Joining rooms of one's own server.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, path};

/// Users join public rooms, one room after the other.
#[derive(Debug)]
pub(super) struct Join {
    name: String,
    users: usize,
    rooms: usize,
    joining: Vec<User>,
    owner: Option<User>,
    ids: Vec<String>,
}

impl Join {
    /// So many users join so many rooms.
    pub(super) fn new(name: String, users: usize, rooms: usize) -> Self {
        Self { name, users, rooms, joining: Vec::new(), owner: None, ids: Vec::new() }
    }
}

impl Scenario for Join {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.joining = stage.users("guest", self.users).await?;
            let owner = stage.user("owner").await?;
            for _ in 0..self.rooms {
                self.ids.push(owner.create_public_room().await?);
            }
            self.owner = Some(owner);
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let joins =
                self.ids.iter().flat_map(|id| self.joining.iter().map(move |user| (user, id)));
            let (series, _) =
                measure::each("join", stage.concurrency, joins, |(user, id)| user.join(id, &[]))
                    .await?;
            Ok(vec![series])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let owner = self.owner.as_ref().context("nobody made rooms")?;
            for id in &self.ids {
                let target = path("/_matrix/client/v3/rooms/{}/joined_members", &[id]);
                let answer = owner.api.get(&target).await?.ok()?;
                let members = answer["joined"].as_object().context("no members")?;
                ensure!(members.len() == self.joining.len() + 1, "{} members", members.len());
                let all = self.joining.iter().all(|user| members.contains_key(&user.id));
                ensure!(all, "somebody who joined is not a member");
            }
            Ok(())
        })
    }
}

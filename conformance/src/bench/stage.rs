//! The homeserver that is measured, and how to fill it.

use anyhow::Result;
use serde_json::json;

use super::measure;
use crate::{
    client::{Api, PASSWORD, User},
    random,
};

/// A homeserver and how much is done with it.
#[derive(Debug)]
pub(super) struct Stage {
    /// Requests to it without an access token.
    pub(super) api: Api,
    /// How many requests are under way at once.
    pub(super) concurrency: usize,
    scale: Scale,
}

/// How much of everything there is, in percent of the usual.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale(pub(super) usize);

impl Scale {
    /// So many of `usual` as the scale says, but at least two.
    pub(super) fn of(self, usual: usize) -> usize {
        (usual * self.0).div_ceil(100).max(2)
    }
}

impl Stage {
    /// A homeserver at a base URL.
    pub(super) fn new(url: &str, percent: usize, concurrency: usize) -> Result<Self> {
        let api = Api::at(url.trim_end_matches('/'))?;
        Ok(Self { api, concurrency, scale: Scale(percent) })
    }

    /// So many of `usual` as the scale says, but at least two.
    pub(super) fn scaled(&self, usual: usize) -> usize {
        self.scale.of(usual)
    }

    /// Makes an account.
    pub(super) async fn user(&self, name: &str) -> Result<User> {
        let username = format!("{name}-{}", random::suffix()?);
        let body = json!({ "username": username, "password": PASSWORD });
        User::from_login(&self.api, self.api.register(body).await?)
    }

    /// Makes several accounts.
    pub(super) async fn users(&self, name: &str, count: usize) -> Result<Vec<User>> {
        let (_, users) =
            measure::each("register", self.concurrency, 0..count, |_| self.user(name)).await?;
        Ok(users)
    }

    /// A public room of one of the users which all others have joined.
    pub(super) async fn room(&self, users: &[User]) -> Result<String> {
        let [owner, others @ ..] = users else { anyhow::bail!("a room needs somebody") };
        let room = owner.create_public_room().await?;
        measure::each("join", self.concurrency, others, |user| user.join(&room, &[])).await?;
        Ok(room)
    }
}

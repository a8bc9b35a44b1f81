//! Registering and logging in.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures_util::future::LocalBoxFuture;

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::User;

const USERS: usize = 100;

/// Accounts are made, and each is logged in to.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    sessions: Vec<User>,
}

impl Scenario for Accounts {
    fn name(&self) -> &str {
        "accounts"
    }

    fn prepare<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let (at_once, count) = (stage.concurrency, stage.scaled(USERS));
            let (register, users) =
                measure::each("register", at_once, 0..count, |_| stage.user("bench")).await?;
            let (log_in, again) =
                measure::each("log in", at_once, &users, |user: &User| user.login()).await?;
            self.sessions = users.into_iter().chain(again).collect();
            Ok(vec![register, log_in])
        })
    }

    fn verify<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let mut devices = BTreeSet::new();
            let mut users = BTreeSet::new();
            for session in &self.sessions {
                let whoami = session.api.get("/_matrix/client/v3/account/whoami").await?.ok()?;
                ensure!(whoami["user_id"] == session.id.as_str(), "{} is {whoami}", session.id);
                users.insert(&session.id);
                devices.insert((&session.id, &session.device));
            }
            ensure!(users.len() == stage.scaled(USERS), "only {} users", users.len());
            ensure!(devices.len() == 2 * users.len(), "only {} devices", devices.len());
            Ok(())
        })
    }
}

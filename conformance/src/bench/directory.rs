//! Finding users by their names.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::{
    client::{User, path},
    random,
};

/// How long it may take until everybody is in the directory.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

const USERS: usize = 100;
const SEARCHES: usize = 400;

/// Somebody types the beginnings of names of those who are in a room with them.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Vec<User>,
    names: Vec<String>,
    found: Vec<(usize, Value)>,
}

impl Scenario for Directory {
    fn name(&self) -> &str {
        "user directory"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("findable", stage.scaled(USERS)).await?;
            // Nobody finds themselves, so who asks needs no name.
            for user in self.users.iter().skip(1) {
                let name = format!("Name{}", random::suffix()?);
                let target = path("/_matrix/client/v3/profile/{}/displayname", &[&user.id]);
                user.api.put(&target, json!({ "displayname": name })).await?.ok()?;
                self.names.push(name);
            }
            stage.room(&self.users).await?;
            self.appear().await
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let (users, names) = (&self.users, &self.names);
            let asker = users.first().context("nobody asks")?;
            let searches = 0..stage.scaled(SEARCHES);
            let (one, found) =
                measure::each("by a whole name", stage.concurrency, searches.clone(), |number| {
                    let index = number % names.len();
                    async move { Ok((index, look(asker, &names[index]).await?)) }
                })
                .await?;
            let (many, _) = measure::each("by a beginning", stage.concurrency, searches, |_| {
                look(asker, "Name")
            })
            .await?;
            self.found = found;
            Ok(vec![one, many])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            for (index, found) in &self.found {
                let results = found["results"].as_array().context("no results")?;
                let name = &self.names[*index];
                let is_it = |user: &&Value| user["display_name"] == name.as_str();
                ensure!(results.iter().filter(is_it).count() == 1, "{name} is not once in {found}");
            }
            Ok(())
        })
    }
}

impl Directory {
    /// Waits until all are in the directory, which may follow the rooms at a distance. That is not what is
    /// measured.
    async fn appear(&self) -> Result<()> {
        let asker = self.users.first().context("nobody asks")?;
        let begun = Instant::now();
        for name in &self.names {
            while look(asker, name).await?["results"] == json!([]) {
                ensure!(begun.elapsed() < PATIENCE, "{name} is not in the directory");
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }
}

async fn look(user: &User, term: &str) -> Result<Value> {
    let body = json!({ "search_term": term, "limit": 10 });
    user.api.post("/_matrix/client/v3/user_directory/search", body).await?.ok()
}

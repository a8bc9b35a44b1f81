//! Finding messages by their words.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::{
    Scenario,
    load::{self, Acknowledged},
    measure::{self, Series},
    stage::Stage,
};
use crate::client::User;

const MESSAGES: usize = 1_000;
const SEARCHES: usize = 200;
const WORDS: [&str; 10] = [
    "apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island",
    "jungle",
];

/// A user looks for words in their rooms.
#[derive(Debug, Default)]
pub(super) struct Search {
    user: Option<User>,
    sent: Acknowledged,
    found: Vec<(usize, Value)>,
}

impl Scenario for Search {
    fn name(&self) -> &str {
        "search"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let user = stage.user("searcher").await?;
            let room = user.create_public_room().await?;
            let bodies = (0..stage.scaled(MESSAGES))
                .map(|number| format!("{} number{number}", WORDS[number % WORDS.len()]));
            self.sent = load::fill(stage, &user, &room, bodies.collect()).await?;
            // What was just said may take a moment to be found; that is not what is measured.
            look(&user, WORDS[0]).await?;
            self.user = Some(user);
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let user = self.user.as_ref().context("nobody searches")?;
            let searches = 0..stage.scaled(SEARCHES);
            let sent = self.sent.len();
            let (one, found) =
                measure::each("one of all", stage.concurrency, searches.clone(), |number| {
                    let number = number % sent;
                    async move { Ok((number, look(user, &format!("number{number}")).await?)) }
                })
                .await?;
            self.found = found;
            let (many, _) =
                measure::each("a tenth of all", stage.concurrency, searches, |number| {
                    look(user, WORDS[number % WORDS.len()])
                })
                .await?;
            Ok(vec![one, many])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            for (number, found) in &self.found {
                let results = found["results"].as_array().context("no results")?;
                let wanted = format!("number{number}");
                ensure!(results.len() == 1, "{wanted} was found {} times", results.len());
                let body = results[0]["result"]["content"]["body"].as_str().unwrap_or_default();
                ensure!(body.ends_with(&wanted), "{wanted} is not in {body:?}");
            }
            Ok(())
        })
    }
}

async fn look(user: &User, words: &str) -> Result<Value> {
    let events = json!({ "search_term": words, "keys": ["content.body"], "order_by": "recent" });
    let body = json!({ "search_categories": { "room_events": events } });
    let answer = user.api.post("/_matrix/client/v3/search", body).await?.ok()?;
    Ok(answer["search_categories"]["room_events"].clone())
}

//! A /sync without news beside a handler that answers with the same bytes.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Compared, Options, Rate, handler::Handler};
use crate::{
    bench::{
        measure,
        process::{Usage, Watched},
        stage::{Scale, Stage},
    },
    client::{Api, User, path},
    servers::{DatabaseKind, Kind, Spec, TestCa},
};

const POLLS: usize = 40_000;
const USERS: usize = 16;
/// How often a user asks until nothing is new any more.
const TRIES: usize = 10;
const SYNC: &str = "/_matrix/client/v3/sync?timeout=0";

/// Users who know everything ask for news again and again; then as many ask the handler.
pub(super) async fn compare(options: &Options) -> Result<Compared> {
    let spec = Spec::new(Kind::Starling)?.on(DatabaseKind::Sqlite);
    let server = spec.start(&TestCa::new()?).await?;
    let stage = Stage::new(&server.client_url(), options.scale, options.concurrency)?;
    let users = stage.users("follower", USERS).await?;
    stage.room(&users).await?;
    // Whoever asks for the first time is there, which is news for the others.
    for user in &users {
        user.api.get(SYNC).await?.ok()?;
    }
    let mut ready = Vec::new();
    for user in &users {
        ready.push((&user.api, target(user).await?));
    }
    let (api, poll) = ready.first().context("nobody asks")?;
    let body = api.get(poll).await?.ok()?;
    ensure!(is_silent(&body), "there is news where nothing happened: {body}");
    let body = body.to_string();
    let count = Scale(options.scale).of(POLLS);
    let starling = ask(options, &Watched::server(&server)?, &ready, count).await?;
    drop(server);

    let handler = Handler::start(&body).await?;
    let bare = Api::at(&handler.url)?;
    let asked = [(&bare, SYNC.to_owned())];
    let limit = ask(options, &Watched::new(handler.pid()), &asked, count).await?;
    let notes = vec![format!("{} bytes each", body.len())];
    Ok(Compared { what: "/sync without news", starling, limit, notes })
}

/// The question for what is new after all that there is.
async fn target(user: &User) -> Result<String> {
    let mut target = SYNC.to_owned();
    for _ in 0..TRIES {
        let answer = user.api.get(&target).await?.ok()?;
        if is_silent(&answer) {
            return Ok(target);
        }
        let since = answer["next_batch"].as_str().context("no next_batch")?;
        target = path("/_matrix/client/v3/sync?timeout=0&since={}", &[since]);
    }
    bail!("there is always news")
}

fn is_silent(answer: &Value) -> bool {
    answer["rooms"]["join"].as_object().is_none_or(serde_json::Map::is_empty)
        && answer["presence"]["events"].as_array().is_none_or(Vec::is_empty)
}

async fn ask(
    options: &Options,
    watched: &Watched,
    asked: &[(&Api, String)],
    count: usize,
) -> Result<Rate> {
    let before = watched.settled().await?;
    let (series, answers) =
        measure::each("poll", options.concurrency, 0..count, |number| async move {
            let (api, target) = asked.get(number % asked.len()).context("nobody asks")?;
            Ok(api.get(target).await?.status)
        })
        .await?;
    ensure!(answers.iter().all(|status| *status == 200), "not all were answered");
    let usage = Usage::between(before, watched.settled().await?);
    Ok(Rate::new(series.count(), series.elapsed, usage.cpu_seconds))
}

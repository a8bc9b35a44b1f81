//! `starling doctor`: how a server is found, and whether it and this one hear each other.

pub(crate) mod deep;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use ruma::{OwnedServerName, ServerName};
use starling_engine::clock::{Clock, SystemClock};
use starling_federation::doctor::{self, Outcome, Step};

use crate::{
    admin::{self, Order, ServerOrder},
    cli::print,
    config::Config,
    engine,
};

/// Examines a server, or this one as others see it, and says what was found.
///
/// # Errors
///
/// When something is wrong on the way, which was said then.
pub(crate) async fn run(config: &Config, server: Option<&str>) -> anyhow::Result<()> {
    let server = match server {
        Some(name) => ServerName::parse(name)
            .with_context(|| format!("{name} cannot be the name of a server"))?,
        None => config.server_name.clone(),
    };
    print(&format!("{server}\n"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let steps = doctor::examine(&engine::federation(config), &clock, &server).await?;
    for step in &steps {
        print(&line(step))?;
    }
    let there = steps.iter().any(|step| step.outcome == Outcome::Good)
        && steps.last().is_some_and(|step| step.outcome != Outcome::Bad);
    if !there {
        bail!("{server} is not reached");
    }
    match server == config.server_name {
        true => look_at_files(config).await?,
        false => ask(config, server).await?,
    }
    print("Nothing is wrong.\n")
}

/// Lets the running server, or an engine of our own, ask the other one something that is signed.
async fn ask(config: &Config, server: OwnedServerName) -> anyhow::Result<()> {
    let order = Order::Servers(ServerOrder::Ask { server: server.clone() });
    let answer = admin::give(config, order).await;
    let (outcome, found) = match &answer {
        Ok(found) => (Outcome::Good, found.clone()),
        Err(error) => (Outcome::Bad, format!("{error:#}")),
    };
    let title = "a signed request, and the way back to us".to_owned();
    print(&line(&Step { title, outcome, found }))?;
    match answer {
        Ok(_) => Ok(()),
        Err(_) => bail!("{server} does not take what this server sends"),
    }
}

/// Asks the bucket for the files, if there is one, for something.
async fn look_at_files(config: &Config) -> anyhow::Result<()> {
    let Some(bucket) = &config.media.s3.bucket else { return Ok(()) };
    let checked = engine::blobs(config)?.check().await;
    let (outcome, found) = match &checked {
        Ok(()) => (Outcome::Good, "it lets us in".to_owned()),
        Err(error) => (Outcome::Bad, error.to_string()),
    };
    print(&line(&Step { title: format!("the bucket {bucket}"), outcome, found }))?;
    checked.context("the store of files cannot be used")
}

fn line(step: &Step) -> String {
    let mark = match step.outcome {
        Outcome::Good => "ok  ",
        Outcome::Nothing => "-   ",
        Outcome::Bad => "BAD ",
    };
    format!("{mark}{}: {}\n", step.title, step.found)
}

//! `starling doctor --deep`: looks at all that is stored, and changes nothing.

use anyhow::{Context as _, bail};
use starling_engine::examine::{self, Examined, Found, Part};
use starling_federation::doctor::{Outcome, Step};
use starling_storage::examine as rows;

use super::line;
use crate::{cli::print, config::Config, database, engine};

/// Examines the database and the files of this server.
///
/// # Errors
///
/// When something is wrong, which was said then.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let db = rows::open(&database::url(config)).await.context("cannot open the database")?;
    let blobs = engine::blobs(config)?;
    let examined = Examined { db: &db, blobs: &blobs, server_name: &config.server_name };
    let mut wrong = 0;
    for part in Part::ALL {
        let found = examine::look_at(&examined, part).await;
        wrong += found.wrong.len() as u64 + found.more;
        say(part, &found)?;
    }
    db.close().await;
    match wrong {
        0 => print("Nothing is wrong.\n"),
        _ => bail!("{wrong} things are wrong"),
    }
}

fn say(part: Part, found: &Found) -> anyhow::Result<()> {
    for wrong in &found.wrong {
        print(&line(&Step {
            title: title(part).to_owned(),
            outcome: Outcome::Bad,
            found: wrong.clone(),
        }))?;
    }
    if found.more > 0 {
        print(&format!("    and {} more\n", found.more))?;
    }
    if !found.wrong.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} looked at", found.looked_at);
    if found.unjudged > 0 {
        text.push_str(&format!(
            "; the signatures of {} not, as the keys are not known",
            found.unjudged
        ));
    }
    print(&line(&Step { title: title(part).to_owned(), outcome: Outcome::Good, found: text }))
}

fn title(part: Part) -> &'static str {
    match part {
        Part::File => "the database file",
        Part::Events => "events",
        Part::Order => "order and graph",
        Part::States => "states and members",
        Part::Media => "files",
    }
}

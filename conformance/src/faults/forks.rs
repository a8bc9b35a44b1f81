//! Another server makes thousands of forks of one room, each with a piece of state: what an event costs is bounded,
//! the room goes on, and nobody else notices.

use anyhow::{Context as _, Result, ensure};

use super::siege::{Options, Siege};
use crate::hostile::{
    Stage,
    graph::{Forks, forks},
};

/// How many events one of the server's own may follow.
const ENDS: usize = 20;

/// Plays the attacks and tells whether the server stood them.
pub async fn run(options: Options) -> Result<bool> {
    let (size, version) = (options.size, options.room_version.clone());
    let mut siege = Siege::begin(options).await?;
    for (name, kind) in
        [("forks of many states", Forks::ManyStates), ("forks of one state", Forks::OneState)]
    {
        siege
            .attack(name, size, async |server, ca, _| {
                let stage = Stage::set(server, ca, &version, 100).await?;
                forks(&stage, size, kind).await?;
                few_ends(&stage).await
            })
            .await;
    }
    siege.end()
}

/// What the server says next follows not too many events.
async fn few_ends(stage: &Stage<'_>) -> Result<()> {
    let body = "what do I follow?";
    stage.alice.say(&stage.room.id, body).await?;
    let pdu = stage.peer.received_pdu(body, |pdu| pdu["content"]["body"] == body).await?;
    let follows = pdu["prev_events"].as_array().context("no prev_events")?.len();
    ensure!(follows <= ENDS, "it follows {follows} events");
    Ok(())
}

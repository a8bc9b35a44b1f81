//! A server, and as many members for its rooms as are wanted.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;

use super::Stage;
use crate::{
    appservice::{Bridge, Plan, acting_for, files},
    bench::measure,
    client::path,
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many requests are under way at once.
const AT_ONCE: usize = 16;

/// A new Starling, with an application service that makes users without a password: ten thousand passwords
/// would take longer to hash than all that is measured.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) stage: Stage,
    pub(super) server: Server,
    bridge: Bridge,
}

impl Crowd {
    /// Starts both.
    pub(super) async fn start(database: DatabaseKind) -> Result<Self> {
        let mut plan = Plan::new("crowd");
        plan.listens = false;
        let bridge = Bridge::start(plan).await?;
        let file = bridge.registration();
        let spec = Spec::new(Kind::Starling)?
            .on(database)
            .with_setting("APPSERVICES__FILES", &files(&[&file]));
        let server = spec.start(&TestCa::new()?).await?;
        let stage = Stage::new(&server.client_url(), 100, AT_ONCE)?;
        Ok(Self { stage, server, bridge })
    }

    /// Users of these numbers come into being and join a room, one after the other. How long each join took.
    pub(super) async fn join(&self, room: &str, numbers: Range<usize>) -> Result<Vec<Duration>> {
        let names = numbers.map(|number| format!("member{number}"));
        let (_, ids) = measure::each("register", AT_ONCE, names, |name| async move {
            self.bridge.register(&self.server, &name).await
        })
        .await?;
        let (api, mut taken) = (self.bridge.api(&self.server)?, Vec::new());
        for id in ids {
            let target = path("/_matrix/client/v3/join/{}?", &[room]) + &acting_for(&id);
            let begun = Instant::now();
            api.post(&target, json!({})).await?.ok()?;
            taken.push(begun.elapsed());
        }
        Ok(taken)
    }
}

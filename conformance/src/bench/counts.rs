//! Unread messages, counted for each member of a room by their push rules.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::json;

use super::{
    Scenario,
    load::{Acknowledged, numbered},
    measure::{self, Series},
    stage::Stage,
};
use crate::client::{User, path};

const MEMBERS: usize = 100;
const MESSAGES: usize = 200;
const FILTER: &str = r#"{"room":{"timeline":{"limit":1}}}"#;

/// One member of a large room speaks, and all others see how much they have not read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    users: Vec<User>,
    room: String,
    sent: Acknowledged,
    last: String,
    counts: Vec<u64>,
}

impl Scenario for Counts {
    fn name(&self) -> &str {
        "push counts"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("member", stage.scaled(MEMBERS)).await?;
            self.room = stage.room(&self.users).await?;
            // Whoever has just joined has read what came before.
            let begin = self.users.first().context("nobody speaks")?;
            self.last = begin.say(&self.room, "here it begins").await?;
            self.read(stage).await.map(|_| ())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let [speaker, readers @ ..] = self.users.as_slice() else { anyhow::bail!("nobody") };
            let room = self.room.as_str();
            let bodies = numbered(stage.scaled(MESSAGES));
            let (send, sent) =
                measure::each("send", stage.concurrency, bodies, |body| async move {
                    Ok((speaker.say(room, &body).await?, body))
                })
                .await?;
            let (count, counts) =
                measure::each("see the count", stage.concurrency, readers, |user| {
                    unread(user, room)
                })
                .await?;
            self.counts = counts;
            for (event_id, body) in sent {
                self.last.clone_from(&event_id);
                self.sent.note(event_id, body)?;
            }
            let receipt = self.read(stage).await?;
            Ok(vec![send, count, receipt])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let wanted = u64::try_from(self.sent.len())?;
            let wrong = self.counts.iter().find(|&&count| count != wanted);
            ensure!(wrong.is_none(), "somebody has {wrong:?} unread messages, not {wanted}");
            let reader = self.users.last().context("nobody reads")?;
            let history = reader.history(&self.room).await?;
            let since =
                history.iter().skip_while(|event| event["content"]["body"] != "here it begins");
            self.sent.verify(since.skip(1))
        })
    }
}

impl Counts {
    /// Everybody but the speaker has read up to the last message.
    async fn read(&self, stage: &Stage) -> Result<Series> {
        let template = "/_matrix/client/v3/rooms/{}/receipt/m.read/{}";
        let target = path(template, &[&self.room, &self.last]);
        let readers = self.users.iter().skip(1);
        let (series, _) = measure::each("read all", stage.concurrency, readers, |user| {
            let target = target.as_str();
            async move { user.api.post(target, json!({})).await?.ok() }
        })
        .await?;
        Ok(series)
    }
}

async fn unread(user: &User, room: &str) -> Result<u64> {
    let answer = user.api.get(&path("/_matrix/client/v3/sync?filter={}", &[FILTER])).await?.ok()?;
    let counts = &answer["rooms"]["join"][room]["unread_notifications"];
    counts["notification_count"].as_u64().context("no count")
}

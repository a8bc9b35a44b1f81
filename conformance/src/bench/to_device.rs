//! Messages from device to device.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value, json};

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::{
    client::{User, path},
    random,
};

const TYPE: &str = "org.example.bench";
const FILTER: &str = r#"{"room":{"rooms":[]}}"#;

/// Somebody sends messages to many devices, which then fetch them.
#[derive(Debug)]
pub(super) struct ToDevice {
    recipients: usize,
    messages: usize,
    users: Vec<User>,
    received: Vec<Vec<u64>>,
}

impl ToDevice {
    /// So many messages to each of so many devices.
    pub(super) fn new(recipients: usize, messages: usize) -> Self {
        Self { recipients, messages, users: Vec::new(), received: Vec::new() }
    }
}

impl Scenario for ToDevice {
    fn name(&self) -> &str {
        "to-device"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("device", self.recipients + 1).await?;
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let [sender, recipients @ ..] = self.users.as_slice() else { anyhow::bail!("nobody") };
            let (send, _) = measure::each("send to all", 1, 0..self.messages, |number| {
                tell(sender, recipients, number)
            })
            .await?;
            let all = self.messages;
            let (fetch, received) =
                measure::each("fetch all", stage.concurrency, recipients, |user| fetch(user, all))
                    .await?;
            self.received = received;
            Ok(vec![send, fetch])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let wanted: Vec<u64> = (0..u64::try_from(self.messages)?).collect();
            let wrong = self.received.iter().find(|&received| *received != wanted);
            ensure!(wrong.is_none(), "a device received {wrong:?}");
            ensure!(self.received.len() == self.recipients, "a device received nothing");
            Ok(())
        })
    }
}

/// One request with a message for each device.
async fn tell(sender: &User, recipients: &[User], number: usize) -> Result<Value> {
    let content = json!({ "number": number, "ciphertext": "x".repeat(300) });
    let messages =
        recipients.iter().map(|user| (user.id.clone(), json!({ &user.device: content })));
    let target = path("/_matrix/client/v3/sendToDevice/{}/{}", &[TYPE, &random::suffix()?]);
    let body = json!({ "messages": messages.collect::<Map<_, _>>() });
    sender.api.put(&target, body).await?.ok()
}

/// Asks until so many have come, and says which.
async fn fetch(user: &User, all: usize) -> Result<Vec<u64>> {
    let (mut received, mut since) = (Vec::new(), None::<String>);
    loop {
        let mut target = path("/_matrix/client/v3/sync?timeout=0&filter={}", &[FILTER]);
        if let Some(since) = &since {
            target.push_str(&path("&since={}", &[since]));
        }
        let answer = user.api.get(&target).await?.ok()?;
        let events =
            answer["to_device"]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        received.extend(events.iter().filter_map(|event| event["content"]["number"].as_u64()));
        // One more question says that these have come.
        if events.is_empty() && since.is_some() {
            ensure!(received.len() >= all, "only {} of {all} messages came", received.len());
            return Ok(received);
        }
        since = Some(answer["next_batch"].as_str().context("no next_batch")?.to_owned());
    }
}

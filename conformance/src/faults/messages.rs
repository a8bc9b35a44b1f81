//! Messages from device to device, numbered, until the server goes away: each comes once, in order.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::client::{User, path};

const KIND: &str = "org.example.numbered";

/// A device that sends to another one, which syncs meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    sender: User,
    receiver: User,
    /// How many messages were sent; the server may not know of the last one.
    pub(super) sent: u64,
    /// The numbers that came.
    came: Vec<u64>,
    since: Option<String>,
}

impl Messages {
    pub(super) fn new(sender: User, receiver: User) -> Self {
        Self { sender, receiver, sent: 0, came: Vec::new(), since: None }
    }

    /// Sends and syncs until both have lost the server.
    pub(super) async fn until_silence(mut self) -> Result<Self> {
        let sender = self.sender.clone();
        let (to, begun) = ((self.receiver.id.clone(), self.receiver.device.clone()), self.sent);
        let sending = async {
            let mut sent = begun;
            loop {
                sent += 1;
                if !put(&sender, &to, sent).await? {
                    return Ok::<_, anyhow::Error>(sent);
                }
            }
        };
        let syncing = async {
            while self.sync().await? {}
            Ok::<_, anyhow::Error>(())
        };
        let (sent, synced) = tokio::join!(sending, syncing);
        synced?;
        self.sent = sent?;
        Ok(self)
    }

    /// Repeats the last message under its old transaction id, and reads until it has come: all messages
    /// came once, in order.
    pub(super) async fn verify(&mut self) -> Result<()> {
        let to = (self.receiver.id.clone(), self.receiver.device.clone());
        ensure!(put(&self.sender, &to, self.sent).await?, "the server went away");
        // One answer after the last message shows whether that one comes again.
        let mut quiet = 0;
        while quiet < 2 {
            let before = self.came.len();
            ensure!(self.sync().await?, "the server went away");
            quiet = if self.came.len() == before { quiet + 1 } else { 0 };
        }
        ensure!(
            self.came.iter().copied().eq(1..=self.sent),
            "{} messages were sent, and there came {:?}",
            self.sent,
            self.came
        );
        Ok(())
    }

    /// One request to /sync, by which the messages of the one before are acknowledged; `false` when the
    /// connection broke.
    async fn sync(&mut self) -> Result<bool> {
        let filter = json!({ "room": { "rooms": [] } }).to_string();
        let mut target = path("/_matrix/client/v3/sync?timeout=0&filter={}", &[&filter]);
        if let Some(since) = &self.since {
            target.push_str(&path("&since={}", &[since]));
        }
        let Ok(answer) = self.receiver.api.get(&target).await else { return Ok(false) };
        let answer = answer.ok()?;
        let events = answer["to_device"]["events"].as_array().map(Vec::as_slice);
        for event in events.unwrap_or_default() {
            if event["type"] == KIND {
                self.came.push(event["content"]["number"].as_u64().context("no number")?);
            }
        }
        self.since = Some(answer["next_batch"].as_str().context("no next_batch")?.to_owned());
        Ok(true)
    }
}

/// Sends a message; `false` when the connection broke.
async fn put(sender: &User, (user, device): &(String, String), number: u64) -> Result<bool> {
    let template = "/_matrix/client/v3/sendToDevice/{}/{}";
    let body = json!({ "messages": { user: { device: { "number": number } } } });
    match sender.api.put(&path(template, &[KIND, &number.to_string()]), body).await {
        Ok(answer) if answer.status == 200 => Ok(true),
        Ok(answer) => bail!("the server refused a message to a device: {answer:?}"),
        Err(_) => Ok(false),
    }
}

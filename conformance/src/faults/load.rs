//! Several devices that send numbered messages until the server goes away.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::client::{User, text};

/// How long a server may take to say anything, on a machine that is busy with itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// When one that could not is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What patient senders have seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How many messages were acknowledged.
    pub(super) acknowledged: usize,
    /// How often the server could not take one.
    pub(super) refused: usize,
    /// The longest time until one was acknowledged.
    pub(super) slowest: Duration,
    /// Whether it is enough.
    pub(super) stops: bool,
}

/// One message, and the event id with which the server acknowledged it, if it did.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The transaction id, which is also the body.
    pub(super) transaction: String,
    /// The acknowledged event id.
    pub(super) acknowledged: Option<String>,
}

/// A device that sends to one room, and everything it sent so far.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    user: User,
    room: String,
    /// All messages in their order; only the last of a round can be unacknowledged.
    pub(super) sent: Vec<Sent>,
}

impl Sender {
    /// A sender on this device that has sent nothing yet.
    pub(super) fn new(user: User, room: String) -> Self {
        Self { user, room, sent: Vec::new() }
    }

    /// Sends one message after the other until a request gets no answer.
    async fn send_until_silence(mut self) -> Result<Self> {
        loop {
            let transaction = format!("{} {}", self.user.device, self.sent.len());
            self.sent.push(Sent { transaction: transaction.clone(), acknowledged: None });
            let Some(event) = self.put(&transaction).await? else { return Ok(self) };
            let last = self.sent.last_mut().context("nothing was sent")?;
            last.acknowledged = Some(event);
        }
    }

    /// Sends one message after the other until it is told to stop, each until it is acknowledged: a server
    /// that says that it cannot now is asked again.
    pub(super) async fn send_patiently(mut self, seen: watch::Sender<Seen>) -> Result<Self> {
        while !seen.borrow().stops {
            let transaction = format!("{} {}", self.user.device, self.sent.len());
            let begun = Instant::now();
            let event = loop {
                match self.ask(&transaction).await? {
                    Some(event) => break event,
                    None => {
                        seen.send_modify(|seen| seen.refused += 1);
                        sleep(AGAIN_AFTER).await;
                    }
                }
            };
            self.sent.push(Sent { transaction, acknowledged: Some(event) });
            seen.send_modify(|seen| {
                seen.acknowledged += 1;
                seen.slowest = seen.slowest.max(begun.elapsed());
            });
        }
        Ok(self)
    }

    /// The event id of a message, `None` when the server says that it cannot take it now, and when it may
    /// be asked again.
    async fn ask(&self, transaction: &str) -> Result<Option<String>> {
        let content = json!({ "msgtype": "m.text", "body": transaction });
        let begun = Instant::now();
        let answer = self.user.try_send(&self.room, "m.room.message", transaction, content).await?;
        ensure!(begun.elapsed() < PATIENCE, "{answer:?} took {:?}", begun.elapsed());
        match answer.status {
            200 => Ok(Some(text(&answer.body, "/event_id")?.to_owned())),
            503 => {
                text(&answer.body, "/errcode")?;
                Ok(None)
            }
            _ => bail!("a message was refused: {answer:?}"),
        }
    }

    /// The event id of a request that was answered, `None` when the connection broke.
    async fn put(&self, transaction: &str) -> Result<Option<String>> {
        let content = json!({ "msgtype": "m.text", "body": transaction });
        let sending = self.user.try_send(&self.room, "m.room.message", transaction, content);
        match sending.await {
            Ok(answer) if answer.status == 200 => {
                Ok(Some(text(&answer.body, "/event_id")?.to_owned()))
            }
            Ok(answer) => bail!("the server refused a message: {answer:?}"),
            Err(_) => Ok(None),
        }
    }

    /// Repeats every request of the last `recent` ones under its old transaction id: what was
    /// acknowledged must give the same event id, what was not must be sent now.
    pub(super) async fn repeat(&mut self, recent: usize) -> Result<usize> {
        let from = self.sent.len().saturating_sub(recent);
        let mut late = 0;
        for index in from..self.sent.len() {
            let Some(sent) = self.sent.get(index).cloned() else { break };
            let event = self.put(&sent.transaction).await?.context("the server went away")?;
            match sent.acknowledged {
                Some(first) => ensure!(
                    first == event,
                    "{}: first {first}, when repeated {event}",
                    sent.transaction
                ),
                None => late += 1,
            }
            if let Some(sent) = self.sent.get_mut(index) {
                sent.acknowledged = Some(event);
            }
        }
        Ok(late)
    }

    /// Fails unless each message is exactly once in `history`, in order, under the event id with
    /// which it was acknowledged.
    pub(super) fn verify(&self, history: &[Value]) -> Result<()> {
        verify(&self.user.device, &self.sent, history)
    }

    /// Fails unless the last acknowledged messages can be fetched by id.
    pub(super) async fn verify_by_id(&self, recent: usize) -> Result<()> {
        for sent in self.sent.iter().rev().take(recent) {
            let id = sent.acknowledged.as_deref().context("a message was never acknowledged")?;
            let event = self.user.event(&self.room, id).await?.ok()?;
            ensure!(event["content"]["body"] == sent.transaction.as_str(), "{id} is {event}");
        }
        Ok(())
    }
}

fn verify(device: &str, sent: &[Sent], history: &[Value]) -> Result<()> {
    let prefix = format!("{device} ");
    let mut there = history.iter().filter_map(|event| {
        let body = event["content"]["body"].as_str()?;
        body.starts_with(&prefix).then(|| (body, event["event_id"].as_str()))
    });
    for message in sent {
        let id = message.acknowledged.as_deref().context("a message was never acknowledged")?;
        let wanted = Some((message.transaction.as_str(), Some(id)));
        let found = there.next();
        ensure!(found == wanted, "in the history stands {found:?} and not {wanted:?}");
    }
    let more = there.next();
    ensure!(more.is_none(), "after everything that was sent comes {more:?}");
    Ok(())
}

/// Lets all senders send at once until each of them has lost the server.
pub(super) async fn send_all(senders: Vec<Sender>) -> Result<Vec<Sender>> {
    let mut tasks = JoinSet::new();
    for sender in senders {
        tasks.spawn(sender.send_until_silence());
    }
    tasks.join_all().await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: usize) -> Sent {
        let acknowledged = Some(format!("$event{number}"));
        Sent { transaction: format!("DEVICE {number}"), acknowledged }
    }

    fn event(number: usize, id: &str) -> Value {
        json!({ "event_id": id, "content": { "body": format!("DEVICE {number}") } })
    }

    #[test]
    fn each_message_once_under_its_id_is_good() {
        let foreign = json!({ "event_id": "$other", "content": { "body": "OTHER 0" } });
        let history = [event(0, "$event0"), foreign, event(1, "$event1")];
        verify("DEVICE", &[sent(0), sent(1)], &history).unwrap();
    }

    #[test]
    fn a_lost_message_is_noticed() {
        assert!(verify("DEVICE", &[sent(0), sent(1)], &[event(0, "$event0")]).is_err());
    }

    #[test]
    fn a_message_that_is_there_twice_is_noticed() {
        let history = [event(0, "$event0"), event(0, "$twin")];
        assert!(verify("DEVICE", &[sent(0)], &history).is_err());
    }

    #[test]
    fn another_event_id_is_noticed() {
        assert!(verify("DEVICE", &[sent(0)], &[event(0, "$twin")]).is_err());
    }

    #[test]
    fn a_changed_order_is_noticed() {
        let history = [event(1, "$event1"), event(0, "$event0")];
        assert!(verify("DEVICE", &[sent(0), sent(1)], &history).is_err());
    }

    #[test]
    fn a_message_that_nobody_sent_is_noticed() {
        let history = [event(0, "$event0"), event(1, "$event1")];
        assert!(verify("DEVICE", &[sent(0)], &history).is_err());
    }
}

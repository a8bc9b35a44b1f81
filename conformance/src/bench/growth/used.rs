//! What requests cost in a room in which ever more was said about one event, and of which somebody reads nothing.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Crowd, Step, measured};
use crate::{
    bench::measure,
    client::{Sync, User, path},
};

/// How many events of each kind there are for one thread that is begun besides.
const FOR_ONE_THREAD: usize = 10;

/// A room, and an event in it that has reactions, edits and answers in a thread.
#[derive(Debug)]
struct Used {
    owner: User,
    /// Has push rules of their own, and reads nothing.
    reader: User,
    room: String,
    topic: String,
    /// How many events of each kind relate to the topic.
    related: usize,
}

/// What each kind of request costs, by the number of reactions, edits and answers that an event has.
pub(super) async fn by_use(
    crowd: &Crowd,
    sizes: &[usize],
    requests: usize,
) -> Result<Vec<(&'static str, Vec<Step>)>> {
    let mut used = Used::new(crowd).await?;
    let mut costs: Vec<(&'static str, Vec<Step>)> = Vec::new();
    for &size in sizes {
        used.grow(crowd, size).await?;
        used.verify().await?;
        let mut sync = Sync::start(&used.reader).await?;
        let steps = [
            ("the event", measured(crowd, size, requests, |_| used.event()).await?),
            ("a page of reactions", used.page(crowd, requests, "/m.annotation?").await?),
            ("a page of its thread", used.page(crowd, requests, "/m.thread?").await?),
            ("a page of all, of any steps", used.page(crowd, requests, "?recurse=true&").await?),
            ("a page of threads", measured(crowd, size, requests, |_| used.threads()).await?),
            ("a first /sync", measured(crowd, size, requests, |_| used.first_sync()).await?),
            ("a message and its delivery", used.delivery(crowd, requests, &mut sync).await?),
        ];
        for (place, (name, step)) in steps.into_iter().enumerate() {
            match costs.get_mut(place) {
                Some((_, steps)) => steps.push(step),
                None => costs.push((name, vec![step])),
            }
        }
    }
    Ok(costs)
}

impl Used {
    async fn new(crowd: &Crowd) -> Result<Self> {
        let users = crowd.stage.users("used", 2).await?;
        let [owner, reader] = <[User; 2]>::try_from(users).ok().context("two were wanted")?;
        let room = crowd.stage.room(&[owner.clone(), reader.clone()]).await?;
        let topic = owner.say(&room, "what everybody talks about").await?;
        let rule = json!({ "pattern": "banana", "actions": ["notify"] });
        let target = path("/_matrix/client/v3/pushrules/global/content/{}", &["word"]);
        reader.api.put(&target, rule).await?.ok()?;
        Ok(Self { owner, reader, room, topic, related: 0 })
    }

    /// Until so many events of each kind relate to the topic.
    async fn grow(&mut self, crowd: &Crowd, size: usize) -> Result<()> {
        let (numbers, used) = (self.related..size, &*self);
        let work = |number| used.relate(number);
        measure::each("relate", crowd.stage.concurrency, numbers, work).await?;
        // The newest edit is the one of the latest millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.owner.send(&self.room, "m.room.message", edit(&self.topic, size)).await?;
        self.related = self.related.max(size);
        Ok(())
    }

    async fn relate(&self, number: usize) -> Result<()> {
        let reaction = json!({ "m.relates_to":
            { "rel_type": "m.annotation", "event_id": self.topic, "key": format!("k{number}") } });
        self.owner.send(&self.room, "m.reaction", reaction).await?;
        self.owner.send(&self.room, "m.room.message", edit(&self.topic, number)).await?;
        self.owner.send(&self.room, "m.room.message", answer(&self.topic, number)).await?;
        if number.is_multiple_of(FOR_ONE_THREAD) {
            let root = self.owner.say(&self.room, &format!("another topic {number}")).await?;
            self.owner.send(&self.room, "m.room.message", answer(&root, number)).await?;
        }
        Ok(())
    }

    /// Fails unless all that relates to the topic is told of, and the newest edit.
    async fn verify(&self) -> Result<()> {
        let event = self.event().await?;
        let bundle = &event["unsigned"]["m.relations"];
        ensure!(bundle["m.thread"]["count"] == self.related, "the thread has {bundle}");
        let newest = &bundle["m.replace"]["content"]["m.new_content"]["body"];
        ensure!(newest.as_str() == Some(&said(self.related)), "the newest edit is {newest}");
        Ok(())
    }

    async fn event(&self) -> Result<Value> {
        self.owner.event(&self.room, &self.topic).await?.ok()
    }

    async fn page(&self, crowd: &Crowd, requests: usize, rest: &str) -> Result<Step> {
        let template = "/_matrix/client/v1/rooms/{}/relations/{}";
        let target = path(template, &[&self.room, &self.topic]) + rest + "limit=5";
        measured(crowd, self.related, requests, |_| self.get(&target, 5)).await
    }

    fn threads(&self) -> impl Future<Output = Result<Value>> {
        let target = path("/_matrix/client/v1/rooms/{}/threads?limit=5", &[&self.room]);
        async move { self.get(&target, 5).await }
    }

    /// Fails unless so many events are answered.
    async fn get(&self, target: &str, count: usize) -> Result<Value> {
        let answer = self.owner.api.get(target).await?.ok()?;
        ensure!(answer["chunk"].as_array().is_some_and(|chunk| chunk.len() == count), "{answer}");
        Ok(answer)
    }

    async fn first_sync(&self) -> Result<Value> {
        let filter = json!({ "room": { "timeline": { "limit": 5 } } }).to_string();
        let target = path("/_matrix/client/v3/sync?timeout=0&filter={}", &[&filter]);
        self.owner.api.get(&target).await?.ok()
    }

    /// The owner says something, and the reader, who has read nothing, is told.
    async fn delivery(&self, crowd: &Crowd, requests: usize, sync: &mut Sync) -> Result<Step> {
        let sync = &tokio::sync::Mutex::new(sync);
        measured(crowd, self.related, requests, |number| async move {
            let id = self.owner.say(&self.room, &format!("news {number}")).await?;
            let answer = sync.lock().await.poll(Duration::from_secs(10)).await?;
            let is_told = answer.to_string().contains(&id);
            ensure!(is_told, "the reader was not told of {id}");
            Ok(())
        })
        .await
    }
}

fn said(number: usize) -> String {
    format!("said better for the {number}th time")
}

fn edit(event_id: &str, number: usize) -> Value {
    let new = json!({ "msgtype": "m.text", "body": said(number) });
    json!({ "msgtype": "m.text", "body": format!("* {}", said(number)), "m.new_content": new,
        "m.relates_to": { "rel_type": "m.replace", "event_id": event_id } })
}

fn answer(root: &str, number: usize) -> Value {
    json!({ "msgtype": "m.text", "body": format!("answer {number}"),
        "m.relates_to": { "rel_type": "m.thread", "event_id": root } })
}

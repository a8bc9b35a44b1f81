//! One-time keys that are uploaded and claimed until the server goes away: each is handed out once.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::client::User;

/// How many keys one upload has.
const BATCH: usize = 20;
/// How many requests claim at once.
const CLAIMERS: usize = 4;
/// No more are uploaded while so many are left.
const ENOUGH: u64 = 200;

const ALGORITHM: &str = "signed_curve25519";

/// A device that publishes keys, one that claims them, and what came of it so far.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    owner: User,
    claimer: User,
    /// How many keys were uploaded; the server may not know of the last batch.
    uploaded: usize,
    /// Keys that were handed out.
    pub(super) claimed: BTreeSet<String>,
    /// Claims that were not answered, of which each may have taken a key.
    pub(super) unanswered: usize,
}

/// What came of one claim.
enum Claim {
    Key(String),
    Fallback,
    Silence,
}

impl Keys {
    /// Publishes a fallback key, so that a claim has an answer also when no key is left.
    pub(super) async fn new(owner: User, claimer: User) -> Result<Self> {
        let fallback = json!({ "key": "fallback", "fallback": true, "signatures": {} });
        let body = json!({ "fallback_keys": { format!("{ALGORITHM}:fallback"): fallback } });
        owner.api.post("/_matrix/client/v3/keys/upload", body).await?.ok()?;
        let claimed = BTreeSet::new();
        let mut keys = Self { owner, claimer, uploaded: 0, claimed, unanswered: 0 };
        keys.upload().await?;
        Ok(keys)
    }

    /// Uploads and claims until every request has lost the server.
    pub(super) async fn until_silence(mut self) -> Result<Self> {
        let mut claims = JoinSet::new();
        for _ in 0..CLAIMERS {
            claims.spawn(claim_until_silence(self.owner.clone(), self.claimer.clone()));
        }
        while let Some(mut left) = self.upload().await? {
            while left > ENOUGH {
                let Some(now) = self.post(json!({})).await? else { break };
                left = now;
            }
        }
        for claimed in claims.join_all().await {
            for key in claimed? {
                self.note(key)?;
            }
            self.unanswered += 1;
        }
        Ok(self)
    }

    /// Repeats the last upload, which gives back no key that was claimed from it, and claims all that is
    /// left: every key but those that unanswered claims may have taken.
    pub(super) async fn verify(&mut self) -> Result<()> {
        self.uploaded -= BATCH;
        self.upload().await?.context("the server went away")?;
        loop {
            match claim(&self.owner, &self.claimer).await? {
                Claim::Key(key) => self.note(key)?,
                Claim::Fallback => break,
                Claim::Silence => bail!("the server went away"),
            }
        }
        let lost = self.uploaded - self.claimed.len();
        ensure!(
            lost <= self.unanswered,
            "{lost} of {} keys are gone, but only {} claims were not answered",
            self.uploaded,
            self.unanswered
        );
        self.upload().await.map(|_| ())
    }

    fn note(&mut self, key: String) -> Result<()> {
        ensure!(!self.claimed.contains(&key), "{key} was handed out twice");
        self.claimed.insert(key);
        Ok(())
    }

    /// Uploads the next batch, and gives back how many keys are left; `None` when the connection broke.
    async fn upload(&mut self) -> Result<Option<u64>> {
        let numbers = self.uploaded..self.uploaded + BATCH;
        self.uploaded += BATCH;
        let key = |number: usize| {
            let value = json!({ "key": format!("key {number}"), "signatures": {} });
            (format!("{ALGORITHM}:{number:06}"), value)
        };
        let keys: Map<String, Value> = numbers.map(key).collect();
        self.post(json!({ "one_time_keys": keys })).await
    }

    async fn post(&self, body: Value) -> Result<Option<u64>> {
        match self.owner.api.post("/_matrix/client/v3/keys/upload", body).await {
            Ok(answer) => {
                let left = answer.ok()?["one_time_key_counts"][ALGORITHM].as_u64();
                Ok(Some(left.context("no count of keys")?))
            }
            Err(_) => Ok(None),
        }
    }
}

async fn claim_until_silence(owner: User, claimer: User) -> Result<Vec<String>> {
    let (mut claimed, mut seen) = (Vec::new(), HashSet::new());
    loop {
        match claim(&owner, &claimer).await? {
            Claim::Key(key) => {
                ensure!(seen.insert(key.clone()), "{key} was handed out twice");
                claimed.push(key);
            }
            Claim::Fallback => {}
            Claim::Silence => return Ok(claimed),
        }
    }
}

async fn claim(owner: &User, claimer: &User) -> Result<Claim> {
    let body = json!({ "one_time_keys": { &owner.id: { &owner.device: ALGORITHM } } });
    let answer = match claimer.api.post("/_matrix/client/v3/keys/claim", body).await {
        Ok(answer) => answer.ok()?,
        Err(_) => return Ok(Claim::Silence),
    };
    let keys = answer["one_time_keys"][&owner.id][&owner.device].as_object();
    let (name, key) = keys.and_then(|keys| keys.iter().next()).context("no key at all")?;
    match key["fallback"] == true {
        true => Ok(Claim::Fallback),
        false => Ok(Claim::Key(name.clone())),
    }
}

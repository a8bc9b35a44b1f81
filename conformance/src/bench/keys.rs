//! Keys of devices: uploading them, and claiming those that are for one use.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value, json};

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::client::User;

/// How many keys for one use a client uploads.
const KEYS: usize = 50;

/// Devices upload their keys, and somebody claims all of those that are for one use, one at a time.
#[derive(Debug, Default)]
pub(super) struct Keys {
    devices: usize,
    users: Vec<User>,
    claimed: Vec<String>,
}

impl Keys {
    /// Of so many devices.
    pub(super) fn new(devices: usize) -> Self {
        Self { devices, ..Self::default() }
    }
}

impl Scenario for Keys {
    fn name(&self) -> &str {
        "keys"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("device", self.devices).await?;
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let users = self.users.iter().enumerate();
            let (upload, _) =
                measure::each("upload 50 keys", stage.concurrency, users, |(number, user)| {
                    let target = "/_matrix/client/v3/keys/upload";
                    let body = keys(number, user);
                    async move { user.api.post(target, body).await?.ok() }
                })
                .await?;
            let claims = (0..KEYS).flat_map(|_| &self.users);
            let claiming = self.users.first().context("nobody claims")?;
            let (claim, claimed) =
                measure::each("claim", stage.concurrency, claims, |of| claim(claiming, of)).await?;
            self.claimed = claimed;
            Ok(vec![upload, claim])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let claimed: BTreeSet<_> = self.claimed.iter().collect();
            ensure!(claimed.len() == self.claimed.len(), "a key was handed out twice");
            let all =
                (0..self.users.len()).flat_map(|user| (0..KEYS).map(move |key| name(user, key)));
            ensure!(all.clone().count() == claimed.len(), "only {} keys", claimed.len());
            ensure!(all.into_iter().all(|key| claimed.contains(&key)), "a key is lost");
            Ok(())
        })
    }
}

/// What a key is, which nobody looks into.
fn name(user: usize, key: usize) -> String {
    format!("key {key:04} of {user:036}")
}

fn keys(number: usize, user: &User) -> Value {
    let of_device = |algorithm: &str| format!("{algorithm}:{}", user.device);
    let one_time = (0..KEYS).map(|key| {
        let value = json!({ "key": name(number, key), "signatures": {} });
        (format!("signed_curve25519:{key:06}"), value)
    });
    json!({
        "device_keys": {
            "user_id": user.id,
            "device_id": user.device,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { of_device("ed25519"): "key", of_device("curve25519"): "key" },
            "signatures": { &user.id: { of_device("ed25519"): "c2lnbmF0dXJl" } },
        },
        "one_time_keys": one_time.collect::<Map<_, _>>(),
    })
}

async fn claim(claiming: &User, of: &User) -> Result<String> {
    let body = json!({ "one_time_keys": { &of.id: { &of.device: "signed_curve25519" } } });
    let answer = claiming.api.post("/_matrix/client/v3/keys/claim", body).await?.ok()?;
    let keys = answer["one_time_keys"][&of.id][&of.device].as_object().context("no key")?;
    let key = keys.values().next().and_then(|key| key["key"].as_str());
    key.map(str::to_owned).with_context(|| format!("an odd key in {answer}"))
}

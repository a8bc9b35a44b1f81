//! Push notifications: from a message until the gateway has it, beside a gateway that is dead.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;

use super::{Scenario, measure::Series, stage::Stage};
use crate::{client::User, gateway::Gateway};

const MEMBERS: usize = 10;
const PUSHERS_OF_EACH: usize = 50;
const MESSAGES: usize = 20;

/// One member speaks, and every pusher of every other member is told, but for those of the dead gateway.
#[derive(Debug, Default)]
pub(super) struct Push {
    users: Vec<User>,
    room: String,
    gateway: Option<Gateway>,
    dead: Option<Gateway>,
    pushkeys: Vec<String>,
    sent: Vec<String>,
}

impl Scenario for Push {
    fn name(&self) -> &str {
        "push"
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.users = stage.users("member", MEMBERS + 1).await?;
            self.room = stage.room(&self.users).await?;
            let (gateway, dead) = (Gateway::start().await?, Gateway::start().await?);
            dead.hang();
            for user in self.users.iter().skip(1) {
                dead.tells(user).await?;
                for _ in 0..stage.scaled(PUSHERS_OF_EACH) {
                    self.pushkeys.push(gateway.tells(user).await?);
                }
            }
            (self.gateway, self.dead) = (Some(gateway), Some(dead));
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let speaker = self.users.first().context("nobody speaks")?;
            let gateway = self.gateway.as_ref().context("no gateway")?;
            let begun = Instant::now();
            let mut sent: HashMap<String, Instant> = HashMap::new();
            let mut taken = Vec::new();
            for number in 1..=stage.scaled(MESSAGES) {
                let at = Instant::now();
                let event_id = speaker.say(&self.room, &number.to_string()).await?;
                taken.push(at.elapsed());
                sent.insert(event_id.clone(), at);
                self.sent.push(event_id);
                gateway.wait_for_events(number * self.pushkeys.len()).await?;
            }
            let elapsed = begun.elapsed();
            let told = gateway.came();
            let delays: Vec<Duration> = told
                .iter()
                .filter_map(|it| Some(it.at.duration_since(*sent.get(it.event_id()?)?)))
                .collect();
            Ok(vec![
                Series::new("until the gateway is told", delays, elapsed),
                Series::new("send", taken, elapsed),
            ])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let gateway = self.gateway.as_ref().context("no gateway")?;
            ensure!(gateway.wrong().is_empty(), "{:?}", gateway.wrong());
            let mut told: HashMap<String, Vec<String>> = HashMap::new();
            for it in gateway.came() {
                let events = told.entry(it.pushkey().to_owned()).or_default();
                events.extend(it.event_id().map(str::to_owned));
            }
            let keys: HashSet<&String> = self.pushkeys.iter().collect();
            ensure!(told.len() == keys.len(), "{} of {} were told", told.len(), keys.len());
            let wrong = told.iter().find(|(_, events)| **events != self.sent);
            ensure!(wrong.is_none(), "{wrong:?} is not {:?}", self.sent);
            let dead = self.dead.as_ref().context("no dead gateway")?;
            ensure!(
                dead.came().iter().all(|it| it.status != 200),
                "the dead gateway took something"
            );
            Ok(())
        })
    }
}

//! Telling one application service until it knows everything, or does not take it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use starling_storage::{
    Change,
    appservices::{self as rows, ServiceRow, Write},
};

use super::{
    backoff,
    encryption::{self, Supplies},
    gather::{self, Page},
    interest::Interests,
    passing::{self, Told},
    transaction::{self, Content},
};
use crate::{Engine, Internal, appservices::ApplicationService};

/// After how many positions without anything of interest it is noted how far the cursor is.
const NOTED_EVERY: i64 = 1_000;

/// How long to wait after a failure of our own database.
const OWN_FAULT_PAUSE: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The application service knows everything.
    Drained,
    /// It is to be left alone for so long.
    Pause(Duration),
}

/// Who tells an application service.
pub(super) struct Courier {
    engine: Engine,
    service: Arc<ApplicationService>,
    interests: Interests,
    row: ServiceRow,
    /// How far the cursor is that is stored.
    noted: i64,
    told: Told,
    supplies: Supplies,
    failures: u32,
}

/// Tells an application service everything until the engine shuts down.
pub(super) async fn run(mut courier: Courier) {
    let (engine, service) = (courier.engine.clone(), courier.service.clone());
    let mut head = engine.storage.feed().watch();
    let mut passing = engine.notifier.passing();
    loop {
        // Whatever is in flight then is found there after the next start.
        let drained = tokio::select! {
            () = engine.shutdown.cancelled() => return,
            drained = courier.drain() => drained,
        };
        let end = match drained {
            Ok(end) => end,
            Err(error) => {
                tracing::error!(%error, appservice.id = service.id,
                    "an application service could not be told what happens");
                End::Pause(OWN_FAULT_PAUSE)
            }
        };
        let next = async {
            match end {
                End::Pause(pause) => courier.wait(pause).await,
                End::Drained => tokio::select! {
                    _ = head.changed() => {}
                    _ = passing.changed(), if service.receive_ephemeral => {}
                },
            }
        };
        tokio::select! {
            () = engine.shutdown.cancelled() => return,
            () = next => {}
        }
    }
}

impl Courier {
    /// One for each of these application services, where it was. Who was never told anything is told what happens
    /// from here on, which is noted.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn of_all<'a>(
        engine: &Engine,
        services: impl Iterator<Item = &'a Arc<ApplicationService>>,
    ) -> Result<Vec<Self>, Internal> {
        let (mut couriers, mut change) = (Vec::new(), Change::new());
        let mut conn = engine.storage.read().await?;
        for service in services {
            let row = match rows::service(&mut conn, &service.id).await? {
                Some(row) => row,
                None => {
                    let cursor_pos = engine.storage.feed().head();
                    let row = ServiceRow { id: service.id.clone(), cursor_pos, txn: None };
                    change.write(Write::Service(row.clone()));
                    row
                }
            };
            couriers.push(Self {
                engine: engine.clone(),
                service: service.clone(),
                interests: Interests::new(engine, service),
                noted: row.cursor_pos,
                row,
                told: Told::until_now(engine),
                supplies: Supplies::default(),
                failures: 0,
            });
        }
        drop(conn);
        if !change.is_empty() {
            engine.storage.commit(change).await?;
        }
        Ok(couriers)
    }

    /// Sends one transaction after the other.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn drain(&mut self) -> Result<End, Internal> {
        while !self.engine.shutdown.is_cancelled() {
            if !self.fill().await? {
                return Ok(End::Drained);
            }
            let Some(txn) = &self.row.txn else { return Ok(End::Drained) };
            match transaction::send(&self.engine, &self.service, txn).await {
                Ok(()) => {
                    self.engine.measures.appservices.taken.count();
                    self.taken().await?;
                }
                Err(reason) => {
                    self.engine.measures.appservices.failed.count();
                    return Ok(self.refused(&reason));
                }
            }
        }
        Ok(End::Drained)
    }

    /// Puts the next transaction in flight, unless one is. `false` when there is nothing to tell.
    async fn fill(&mut self) -> Result<bool, Internal> {
        while self.row.txn.is_none() {
            self.engine.deliveries.is_at(&self.service.id, self.row.cursor_pos);
            let (engine, service) = (&self.engine, &self.service);
            let after = self.row.cursor_pos;
            let mut page = gather::page(engine, service, &mut self.interests, after).await?;
            let mut ephemeral = std::mem::take(&mut page.receipts);
            if service.receive_ephemeral {
                let (news, told) = passing::news(engine, &mut self.interests, self.told).await?;
                ephemeral.extend(news);
                self.told = told;
            }
            let is_lasting = page.is_lasting();
            if !is_lasting && ephemeral.is_empty() {
                self.row.cursor_pos = page.pos;
                if page.pos <= after {
                    return Ok(false);
                }
                if page.pos - self.noted >= NOTED_EVERY {
                    self.note(Change::new()).await?;
                }
                continue;
            }
            let left = self.supplies.news(engine, service, &page.users).await?;
            let Page { events, to_device, device_lists, pos, .. } = page;
            let content = Content { events, ephemeral, to_device, device_lists, left };
            self.row.txn = Some(transaction::compose(&content, pos)?);
            // A repetition must be identical; what is ephemeral is not repeated after a restart.
            if is_lasting {
                self.note(Change::new()).await?;
            }
        }
        Ok(true)
    }

    async fn taken(&mut self) -> Result<(), Internal> {
        let mut change = Change::new();
        if let Some(txn) = self.row.txn.take() {
            let span = (self.row.cursor_pos, txn.pos);
            encryption::taken(&mut change, &self.service, &txn.body, span)?;
            self.row.cursor_pos = txn.pos;
        }
        if self.failures > 0 {
            tracing::info!(
                appservice.id = self.service.id,
                "an application service is there again"
            );
        }
        self.failures = 0;
        self.note(change).await
    }

    fn refused(&mut self, reason: &str) -> End {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff::pause(self.failures);
        tracing::warn!(
            appservice.id = self.service.id,
            reason,
            failures = self.failures,
            ?pause,
            "an application service did not take a transaction"
        );
        End::Pause(pause)
    }

    /// Writes how far it is, with what follows from that.
    async fn note(&mut self, mut change: Change) -> Result<(), Internal> {
        change.write(Write::Service(self.row.clone()));
        self.engine.storage.commit(change).await?;
        self.noted = self.row.cursor_pos;
        Ok(())
    }

    /// Waits for the end of a pause, which comes sooner when the application service asks something.
    async fn wait(&self, pause: Duration) {
        let shortest = pause.min(backoff::SHORTEST);
        let Some(memory) = self.engine.deliveries.0.get(&self.service.id) else {
            return tokio::time::sleep(pause).await;
        };
        memory.is_on.store(true, Ordering::Relaxed);
        tokio::time::sleep(shortest).await;
        tokio::select! {
            () = tokio::time::sleep(pause - shortest) => {}
            () = memory.end.notified() => {}
        }
        memory.is_on.store(false, Ordering::Relaxed);
    }
}

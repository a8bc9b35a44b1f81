//! Two servers that are watched.

use std::collections::BTreeMap;

use anyhow::Result;
use reqwest::Certificate;
use serde_json::Value;

use super::Options;
use crate::{
    bench::{
        measure::Series,
        process::{Usage, Watched},
        stage::Stage,
    },
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// Two servers of one kind that have never met.
#[derive(Debug)]
pub(in crate::bench) struct Pair {
    /// The server on which rooms are made.
    pub(in crate::bench) home: Stage,
    /// The server from which others join them.
    pub(super) away: Stage,
    /// The name of the first.
    pub(super) home_name: String,
    /// How many users send at once.
    pub(super) senders: usize,
    /// Whether everything has to be told by `/sync`, in order.
    pub(super) strict: bool,
    watched: [Watched; 2],
    servers: [Server; 2],
    ca: TestCa,
}

/// What came of a scenario.
#[derive(Debug)]
pub(in crate::bench) struct Measured {
    /// How long requests and deliveries took.
    pub(in crate::bench) series: Vec<Series>,
    /// What both servers used.
    pub(super) usage: Usage,
    /// What else was measured.
    pub(super) figures: BTreeMap<&'static str, Value>,
    /// What was wrong with what arrived.
    pub(in crate::bench) flaw: Option<String>,
}

impl Pair {
    /// Starts both.
    pub(super) async fn start(options: &Options, kind: Kind) -> Result<Self> {
        Self::start_with(options, kind, None).await
    }

    /// Starts both, the second with a further setting.
    pub(in crate::bench) async fn start_with(
        options: &Options,
        kind: Kind,
        setting: Option<(&str, &str)>,
    ) -> Result<Self> {
        let ca = TestCa::new()?;
        let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
        let home = Spec::new(kind)?.on(database).start(&ca).await?;
        let mut away = Spec::new(kind)?.on(database);
        if let Some((name, value)) = setting {
            away = away.with_setting(name, value);
        }
        let away = away.start(&ca).await?;
        let stage =
            |server: &Server| Stage::new(&server.client_url(), options.scale, options.concurrency);
        Ok(Self {
            home: stage(&home)?,
            away: stage(&away)?,
            home_name: home.name().to_owned(),
            senders: options.concurrency.max(1),
            strict: kind == Kind::Starling,
            watched: [Watched::server(&home)?, Watched::server(&away)?],
            servers: [home, away],
            ca,
        })
    }

    /// The second server, and what it uses.
    pub(in crate::bench) fn second(&self) -> (&Server, &Watched) {
        let ([_, server], [_, watched]) = (&self.servers, &self.watched);
        (server, watched)
    }

    /// The document in which the first server tells its keys.
    pub(in crate::bench) async fn keys(&self) -> Result<Value> {
        let authority = Certificate::from_pem(self.ca.certificate().as_bytes())?;
        let client =
            reqwest::Client::builder().no_proxy().add_root_certificate(authority).build()?;
        let [home, _] = &self.servers;
        let url = format!("https://localhost:{}/_matrix/key/v2/server", home.federation_port());
        Ok(client.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// What both have used so far; their peaks of memory begin anew.
    pub(super) fn begin(&self) -> Result<Usage> {
        self.watched.iter().for_each(Watched::forget_peak);
        self.usage()
    }

    /// What both have used together.
    pub(super) fn usage(&self) -> Result<Usage> {
        let mut all = Usage { cpu_seconds: 0.0, database_seconds: 0.0, peak_mib: 0.0 };
        for watched in &self.watched {
            let usage = watched.usage()?;
            all.cpu_seconds += usage.cpu_seconds;
            all.database_seconds += usage.database_seconds;
            all.peak_mib += usage.peak_mib;
        }
        Ok(all)
    }
}

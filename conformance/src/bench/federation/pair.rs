//! Two servers that are watched.

use std::collections::BTreeMap;

use anyhow::Result;
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
pub(super) struct Pair {
    /// The server on which rooms are made.
    pub(super) home: Stage,
    /// The server from which others join them.
    pub(super) away: Stage,
    /// The name of the first.
    pub(super) home_name: String,
    /// How many users send at once.
    pub(super) senders: usize,
    /// Whether everything has to be told by `/sync`, in order.
    pub(super) strict: bool,
    watched: [Watched; 2],
    _servers: [Server; 2],
}

/// What came of a scenario.
#[derive(Debug)]
pub(super) struct Measured {
    /// How long requests and deliveries took.
    pub(super) series: Vec<Series>,
    /// What both servers used.
    pub(super) usage: Usage,
    /// What else was measured.
    pub(super) figures: BTreeMap<&'static str, Value>,
    /// What was wrong with what arrived.
    pub(super) flaw: Option<String>,
}

impl Pair {
    /// Starts both.
    pub(super) async fn start(options: &Options, kind: Kind) -> Result<Self> {
        let ca = TestCa::new()?;
        let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
        let home = Spec::new(kind)?.on(database).start(&ca).await?;
        let away = Spec::new(kind)?.on(database).start(&ca).await?;
        let stage =
            |server: &Server| Stage::new(&server.client_url(), options.scale, options.concurrency);
        Ok(Self {
            home: stage(&home)?,
            away: stage(&away)?,
            home_name: home.name().to_owned(),
            senders: options.concurrency.max(1),
            strict: kind == Kind::Starling,
            watched: [Watched::server(&home)?, Watched::server(&away)?],
            _servers: [home, away],
        })
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

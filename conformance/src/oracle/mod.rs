//! `starling-conformance oracle`: Synapse as an oracle. A third server makes rooms and random graphs of events
//! in them, sends the same events to Starling and to Synapse, and asks both what they accepted, what the state
//! is before every event, and what it is at the end. A graph is drawn from a seed.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    random,
    report::{Report, say},
    servers::{DatabaseKind, Kind},
};

mod chance;
mod compare;
mod deeds;
mod graph;
mod house;
mod known;
mod model;
mod order;
mod show;
mod stage;

use compare::Compared;
use graph::{Graph, Shape};
use known::Known;
use stage::Stage;
pub use stage::Way;

/// How many differences of a graph are told.
const TOLD: usize = 12;

/// Which graphs to draw.
#[derive(Args, Debug)]
pub struct Options {
    /// How many graphs for each room version and way of sending.
    #[arg(long, default_value_t = 3)]
    pub graphs: u64,
    /// How many events each has.
    #[arg(long, default_value_t = 40)]
    pub events: usize,
    /// The seed of the first graph; the next ones follow it. A random one if none is named.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The room versions.
    #[arg(long = "room-version", value_delimiter = ',',
        default_values_t = (1..=12).map(|it| it.to_string()))]
    pub room_versions: Vec<String>,
    /// How the graphs are sent.
    #[arg(long = "way", value_enum, value_delimiter = ',',
        default_values_t = [Way::InOrder, Way::Shuffled])]
    pub ways: Vec<Way>,
    /// Whom Starling is compared with; another Starling proves the suite.
    #[arg(long, value_enum, default_value_t = Kind::Synapse)]
    pub oracle: Kind,
    /// Does not give Starling one of the events, and wants that to be found out for every graph.
    #[arg(long)]
    pub control: bool,
    /// Starling's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Draws the graphs, and tells whether both servers made the same of all of them.
///
/// # Errors
///
/// When a server cannot be started.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let first = options.seed.map_or_else(random::seed, Ok)?;
    say(&format!("seed {first}"));
    let stage = Stage::set(database, options.oracle).await?;
    let mut report = Report::default();
    let mut all = Compared::default();
    for version in &options.room_versions {
        for way in &options.ways {
            for seed in first..first + options.graphs {
                let title = format!("seed {seed}, room version {version}, {way:?}");
                let shape = Shape { seed, events: options.events, odd: *way == Way::InOrder };
                let play = Play { version, way: *way, shape, control: options.control };
                report.case(&title, play.out(&stage, &mut all)).await;
            }
        }
    }
    report.figure("events", all.events);
    report.figure("events_accepted", all.accepted);
    report.figure("events_accepted_not_shown", all.hidden);
    report.figure("states_compared", all.states);
    report.figure("pieces_of_state_compared", all.pieces);
    report.figure("states_that_two_readings_make_differ", all.disputed);
    if report.failed() > 0 {
        stage.logs().iter().for_each(|log| say(log));
    }
    report.finish(options.json.as_deref())
}

/// One graph.
struct Play<'a> {
    version: &'a str,
    way: Way,
    shape: Shape,
    control: bool,
}

impl Play<'_> {
    async fn out(&self, stage: &Stage, all: &mut Compared) -> Result<()> {
        let room = stage.room(self.version).await?;
        let graph = graph::draw(&stage.house, &room, self.shape)?;
        stage.send(&graph, self.way, self.shape.seed, self.control).await?;
        let views = stage.views(&room, &graph).await?;
        let [one, other] = views.as_slice() else { anyhow::bail!("not two servers") };
        let names = names(&graph);
        let known = Known::of(&graph, one, other)?;
        let (compared, found) = compare::differences(&names, &known, (one, other), self.way);
        all.add(Compared { events: graph.events.len() + 1, ..compared });
        if self.control {
            ensure!(!found.is_empty(), "Starling was not given an event, and nobody noticed");
            return Ok(());
        }
        let told = found.iter().take(TOLD).cloned().collect::<Vec<_>>().join("\n");
        ensure!(
            found.is_empty(),
            "{} differences:\n{told}\nThe graph (R rejected, S accepted and not shown):\n{}",
            found.len(),
            show::graph(&graph, one, other)
        );
        Ok(())
    }
}

/// What the events are called when a difference is told.
fn names(graph: &Graph) -> BTreeMap<String, String> {
    let events = graph.events.iter().chain([&graph.control, &graph.probe]);
    let named = events.enumerate().map(|(number, event)| {
        let key = event.state_key().unwrap_or("-");
        (event.id.clone(), format!("{number} {} {key}", event.kind()))
    });
    let begin = graph.model.all().map(|placed| {
        let event = &placed.event;
        let key = event.state_key().unwrap_or("-");
        (event.id.clone(), format!("the first {} {key}", event.kind()))
    });
    begin.chain(named).collect()
}

impl Compared {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.accepted += other.accepted;
        self.hidden += other.hidden;
        self.states += other.states;
        self.pieces += other.pieces;
        self.disputed += other.disputed;
    }
}

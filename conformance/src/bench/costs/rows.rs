//! What is measured, and what each may cost.

use crate::bench::{
    Scenario,
    fan_out::FanOut,
    join::Join,
    messages::Messages,
    send::Send,
    stage::Scale,
    sync::{Part, Sync},
};

/// One thing that a server does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// What one of it is.
    pub(super) name: &'static str,
    /// In what it is measured.
    pub(super) unit: &'static str,
    /// What it costs Starling at most.
    pub(super) bar: f64,
    /// How it is measured.
    pub(super) what: What,
}

/// How a cost is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// By what is resident when nobody asks for anything.
    Memory,
    /// By a scenario whose first series is of that what is counted.
    Played(fn(Scale) -> Box<dyn Scenario>),
    /// Between two servers.
    Federation,
}

/// All of them. Memory comes first, before the server was asked for anything.
pub(super) const ROWS: [Row; 8] = [
    Row { name: "idle resident memory", unit: "MiB", bar: 40.0, what: What::Memory },
    Row { name: "acknowledged message", unit: "ms", bar: 0.15, what: What::Played(message) },
    Row {
        name: "delivery to a long-polling member of 50",
        unit: "ms",
        bar: 0.03,
        what: What::Played(delivery),
    },
    Row { name: "/sync without change", unit: "ms", bar: 0.02, what: What::Played(idle_sync) },
    Row {
        name: "initial /sync, 10 rooms of 100 messages",
        unit: "ms",
        bar: 1.5,
        what: What::Played(initial_sync),
    },
    Row { name: "/messages, a page of 50", unit: "ms", bar: 0.15, what: What::Played(page) },
    Row { name: "local join", unit: "ms", bar: 0.4, what: What::Played(local_join) },
    Row {
        name: "federated message, both servers, saturated",
        unit: "ms",
        bar: 0.8,
        what: What::Federation,
    },
];

/// 16 members of one room send at once.
fn message(scale: Scale) -> Box<dyn Scenario> {
    Box::new(Send::new("message".into(), 1, 16, scale.of(3_200)))
}

fn delivery(scale: Scale) -> Box<dyn Scenario> {
    Box::new(FanOut::new("delivery".into(), 50, scale.of(100)))
}

fn idle_sync(scale: Scale) -> Box<dyn Scenario> {
    let parts = vec![Part::Idle(scale.of(10_000))];
    Box::new(Sync::new("idle sync".into(), 10, 2, parts))
}

fn initial_sync(scale: Scale) -> Box<dyn Scenario> {
    let parts = vec![Part::Initial(scale.of(300))];
    Box::new(Sync::new("initial sync".into(), 10, 100, parts))
}

/// Each of some members reads 1,000 messages.
fn page(scale: Scale) -> Box<dyn Scenario> {
    Box::new(Messages::new("messages".into(), 1_000, scale.of(60)))
}

fn local_join(scale: Scale) -> Box<dyn Scenario> {
    Box::new(Join::new("local join".into(), 20, scale.of(40)))
}

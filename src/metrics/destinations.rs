//! How sending to other servers goes, as the database knows it.

use starling_engine::{
    Engine, Internal,
    admin::destinations::{self, Destination, Order},
};

use super::text::Page;

/// How many servers are shown one by one: those that failed most often come first.
const SHOWN: i64 = 200;

/// A name, what it means, and its value for a server.
type Figure = (&'static str, &'static str, fn(&Destination) -> i64);

const OF_EACH: [Figure; 4] = [
    ("starling_federation_failures", "Attempts in a row that a server did not take.", |it| {
        it.failures
    }),
    ("starling_federation_queued_events", "Events that a server is owed.", |it| it.queued),
    (
        "starling_federation_last_success_timestamp_seconds",
        "When a server last took something, since 1970; 0: never.",
        |it| it.last_success_ts.unwrap_or(0) / 1000,
    ),
    (
        "starling_federation_last_failure_timestamp_seconds",
        "When a server last failed, since 1970; 0: not since it took something.",
        |it| it.failed_ts / 1000,
    ),
];

pub(super) async fn write(page: &mut Page, engine: &Engine) -> Result<(), Internal> {
    let (all, failing) = destinations::count(engine).await?;
    let (servers, _) = destinations::list(engine, (Order::Failures, true), (0, SHOWN)).await?;
    page.gauge("starling_federation_servers", "Servers that this one has sent to.")
        .of(&[("state", "ok")], all - failing)
        .of(&[("state", "failing")], failing);
    for (name, help, value) in OF_EACH {
        let mut samples = page.gauge(name, help);
        for server in &servers {
            samples = samples.of(&[("server", &server.server)], value(server));
        }
    }
    Ok(())
}

//! What the engine counts.

use starling_engine::{
    Engine,
    measures::{Hits, Measures, Size},
};

use super::text::Page;

pub(super) fn write(page: &mut Page, engine: &Engine) {
    let measures = &*engine.measures;
    sync(page, engine);
    events(page, measures);
    requests(page, measures);
    sent(page, measures);
    received(page, measures);
    keys(page, measures);
    push(page, measures);
    appservices(page, engine);
    caches(page, engine);
}

fn sync(page: &mut Page, engine: &Engine) {
    let (polls, notifier) = (&engine.measures.sync, &engine.notifier);
    let head = engine.storage.feed().head();
    page.gauge("starling_stream_position", "The position of the newest thing that happened.")
        .is(head);
    page.gauge("starling_sync_waiting", "Requests for news that wait for some.")
        .is(polls.waiting.get());
    page.counter("starling_sync_answers_total", "Answers of /sync, and from what they were made.")
        .of(&[("from", "memory")], polls.remembered.get())
        .of(&[("from", "news")], polls.followed.get())
        .of(&[("from", "database")], polls.read.get());
    page.gauge(
        "starling_notifier_registrations",
        "Requests and devices that are to be woken by what concerns them.",
    )
    .is(notifier.registered());
    page.counter("starling_notifier_wakeups_total", "How often one of them was woken.")
        .is(notifier.woken());
    page.gauge(
        "starling_notifier_behind_positions",
        "Positions of which it is not yet known whom they concern.",
    )
    .is(head.saturating_sub(notifier.told()).max(0));
}

fn events(page: &mut Page, measures: &Measures) {
    let events = &measures.events;
    let of = |origin, fate| [("origin", origin), ("fate", fate)];
    page.counter("starling_events_total", "Events that were added to rooms, by their fate.")
        .of(&of("local", "accepted"), events.local.get())
        .of(&of("remote", "accepted"), events.accepted.get())
        .of(&of("remote", "soft_failed"), events.soft_failed.get())
        .of(&of("remote", "rejected"), events.rejected.get())
        .of(&of("remote", "outlier"), events.outliers.get());
}

fn requests(page: &mut Page, measures: &Measures) {
    let requests = &measures.requests;
    page.counter(
        "starling_federation_requests_total",
        "Requests to other servers, by what became of them.",
    )
    .of(&[("outcome", "answered")], requests.answered.get())
    .of(&[("outcome", "refused")], requests.refused.get())
    .of(&[("outcome", "not_found")], requests.not_found.get())
    .of(&[("outcome", "unreachable")], requests.unreachable.get())
    .of(&[("outcome", "timed_out")], requests.timed_out.get())
    .of(&[("outcome", "too_large")], requests.too_large.get());
    page.histogram(
        "starling_federation_request_duration_seconds",
        "How long requests to other servers took, waiting for a turn and finding them included.",
    )
    .spread(&[], &requests.time.spread());
    page.gauge(
        "starling_federation_requests_in_flight",
        "Requests to other servers without answer.",
    )
    .is(requests.open.get());
}

fn sent(page: &mut Page, measures: &Measures) {
    let sent = &measures.sent;
    let slow = sent.slow.get();
    page.gauge(
        "starling_federation_queues",
        "Servers with something to be sent, by whether it is being sent to them.",
    )
    .of(&[("state", "waiting")], sent.waiting.get())
    .of(&[("state", "sending")], sent.sending.get().saturating_sub(slow).max(0))
    .of(&[("state", "slow")], slow)
    .of(&[("state", "paused")], sent.paused.get());
    page.counter(
        "starling_federation_sent_transactions_total",
        "Transactions that were sent, by what became of them.",
    )
    .of(&[("outcome", "taken")], sent.taken.get())
    .of(&[("outcome", "failed")], sent.failed.get())
    .of(&[("outcome", "refused")], sent.refused.get());
    page.histogram(
        "starling_federation_sent_transaction_duration_seconds",
        "How long sending a transaction took, whatever became of it.",
    )
    .spread(&[], &sent.time.spread());
    page.counter("starling_federation_sent_pdus_total", "Events put into transactions.")
        .is(sent.pdus.get());
    page.counter(
        "starling_federation_sent_edus_total",
        "Ephemeral messages put into transactions.",
    )
    .is(sent.edus.get());
}

fn received(page: &mut Page, measures: &Measures) {
    let received = &measures.received;
    page.counter(
        "starling_federation_received_transactions_total",
        "Transactions of other servers, by what became of them.",
    )
    .of(&[("outcome", "worked")], received.worked.get())
    .of(&[("outcome", "repeated")], received.repeated.get())
    .of(&[("outcome", "failed")], received.failed.get())
    .of(&[("outcome", "too_many")], received.too_many.get());
    page.histogram(
        "starling_federation_received_transaction_duration_seconds",
        "How long working on a transaction of another server took.",
    )
    .spread(&[], &received.time.spread());
    page.counter(
        "starling_federation_received_pdus_total",
        "Events in transactions of other servers; those that were judged are starling_events_total.",
    )
    .of(&[("outcome", "judged")], received.judged.get())
    .of(&[("outcome", "refused")], received.refused.get());
    page.counter(
        "starling_federation_received_edus_total",
        "Ephemeral messages in transactions of other servers.",
    )
    .is(received.edus.get());
}

fn keys(page: &mut Page, measures: &Measures) {
    let keys = &measures.keys;
    let of = |whom, outcome| [("whom", whom), ("outcome", outcome)];
    page.counter(
        "starling_key_fetches_total",
        "Requests for keys of other servers, by whom was asked.",
    )
    .of(&of("server", "given"), keys.given.get())
    .of(&of("server", "failed"), keys.not_given.get())
    .of(&of("notary", "given"), keys.notarised.get())
    .of(&of("notary", "failed"), keys.not_notarised.get());
}

fn push(page: &mut Page, measures: &Measures) {
    let push = &measures.push;
    page.counter(
        "starling_push_notifications_total",
        "What push gateways were told, by what became of it.",
    )
    .of(&[("outcome", "taken")], push.taken.get())
    .of(&[("outcome", "rejected")], push.rejected.get())
    .of(&[("outcome", "failed")], push.failed.get());
    page.gauge("starling_push_pushers", "Pushers with something to be told.")
        .of(&[("state", "telling")], push.telling.get())
        .of(&[("state", "paused")], push.paused.get());
}

fn appservices(page: &mut Page, engine: &Engine) {
    let deliveries = &engine.measures.appservices;
    page.counter(
        "starling_appservice_transactions_total",
        "Transactions to application services, by what became of them.",
    )
    .of(&[("outcome", "taken")], deliveries.taken.get())
    .of(&[("outcome", "failed")], deliveries.failed.get());
    let (head, services) = (engine.storage.feed().head(), engine.deliveries.progress());
    let mut behind = page.gauge(
        "starling_appservice_behind_positions",
        "Positions that an application service has not been told of.",
    );
    for service in services.iter().filter(|service| service.told > 0) {
        let positions = head.saturating_sub(service.told).max(0);
        behind = behind.of(&[("appservice", &service.id)], positions);
    }
    let mut paused = page.gauge(
        "starling_appservice_paused",
        "1 while an application service is left alone as it took nothing.",
    );
    for service in &services {
        paused = paused.of(&[("appservice", &service.id)], i32::from(service.is_paused));
    }
}

fn caches(page: &mut Page, engine: &Engine) {
    let sizes: [(&str, Size); 4] = [
        ("events", engine.events.size()),
        ("state_nodes", engine.state_nodes.size()),
        ("rooms", engine.rooms.size()),
        ("server_keys", engine.remote_keys.size()),
    ];
    let mut entries = page.gauge("starling_cache_entries", "What is in a cache.");
    for (cache, size) in sizes {
        entries = entries.of(&[("cache", cache)], size.entries);
    }
    let mut bytes = page.gauge("starling_cache_bytes", "What it takes, by estimate.");
    for (cache, size) in sizes {
        if let Some(of_cache) = size.bytes {
            bytes = bytes.of(&[("cache", cache)], of_cache);
        }
    }
    page.gauge("starling_cache_max_bytes", "What it may take.")
        .of(&[("cache", "events")], engine.config.cache_bytes / 2)
        .of(&[("cache", "state_nodes")], engine.config.cache_bytes / 2);
    let caches = &engine.measures.caches;
    let helped: [(&str, &Hits); 3] = [
        ("events", &caches.events),
        ("state_nodes", &caches.state_nodes),
        ("rooms", &caches.rooms),
    ];
    let mut requests = page.counter(
        "starling_cache_requests_total",
        "What was asked of a cache, by whether it was there.",
    );
    for (cache, hits) in helped {
        requests = requests
            .of(&[("cache", cache), ("outcome", "hit")], hits.hits.get())
            .of(&[("cache", cache), ("outcome", "miss")], hits.misses.get());
    }
}

//! What is counted of the database and its writer.

use starling_storage::{Storage, db::Connections, measures::Measures};

use super::text::Page;

pub(super) fn write(page: &mut Page, storage: &Storage) {
    writer(page, storage.measures());
    slow(page, storage.measures());
    connections(page, storage);
}

fn writer(page: &mut Page, measures: &Measures) {
    let writer = &measures.writer;
    page.gauge(
        "starling_writer_queued_changes",
        "Changes that were handed to the writer and are in no transaction yet.",
    )
    .is(writer.queued.get());
    page.counter("starling_writer_changes_total", "Changes, by what became of them.")
        .of(&[("outcome", "committed")], writer.committed.get())
        .of(&[("outcome", "conflict")], writer.conflicts.get())
        .of(&[("outcome", "taken")], writer.taken.get())
        .of(&[("outcome", "failed")], writer.failed.get());
    page.histogram("starling_writer_batch_changes", "How many changes were written together.")
        .spread(&[], &writer.batch.spread());
    page.histogram(
        "starling_writer_transaction_duration_seconds",
        "How long a transaction of the writer took, from its begin until it was on disk.",
    )
    .spread(&[], &writer.transaction.spread());
    page.histogram(
        "starling_writer_commit_duration_seconds",
        "How long its COMMIT took, which waits for the disk.",
    )
    .spread(&[], &writer.commit.spread());
}

fn slow(page: &mut Page, measures: &Measures) {
    let slow = &measures.slow;
    page.counter(
        "starling_writer_slow_transactions_total",
        "Transactions of the writer that took as long as `log.slow_query_ms`.",
    )
    .is(slow.transactions.get());
    page.counter(
        "starling_database_slow_statements_total",
        "Statements that took as long as `log.slow_query_ms`.",
    )
    .is(slow.statements.get());
    page.gauge(
        "starling_database_log_pages",
        "Pages of SQLite's write-ahead log when it was looked at last.",
    )
    .is(measures.log_pages.get());
}

fn connections(page: &mut Page, storage: &Storage) {
    let Connections { used, idle, most } = storage.db().connections();
    page.gauge("starling_database_connections", "Open connections to the database.")
        .of(&[("state", "used")], used)
        .of(&[("state", "idle")], idle);
    page.gauge("starling_database_max_connections", "How many there may be.").is(most);
    let measures = &storage.measures().connections;
    page.gauge("starling_database_connections_waiting", "Who waits for a connection.")
        .is(measures.waiting.get());
    page.histogram(
        "starling_database_connection_wait_seconds",
        "How long a connection was waited for.",
    )
    .spread(&[], &measures.waited.spread());
}

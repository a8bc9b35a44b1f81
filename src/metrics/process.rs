//! What the operating system and the runtime say of this process. Where there is no `/proc`, what it
//! would say is left out.

use std::fs;

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use tokio::runtime::Handle;

use super::text::{Page, Samples};

pub(super) fn write(page: &mut Page, started_ms: i64) {
    page.gauge("starling_build_info", "1, with the version of this program.")
        .of(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("process_start_time_seconds", "When the process started, since 1970.")
        .is(started_ms / 1000);
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let fraction = used.tv_nsec / 10_000_000;
    page.counter("process_cpu_seconds_total", "Processor time that the process has used.")
        .is(format_args!("{}.{fraction:02}", used.tv_sec));
    files(page);
    memory(page);
    runtime(page);
}

fn files(page: &mut Page) {
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
    value(page.gauge("process_open_fds", "Open files and connections."), open);
    let limit = getrlimit(Resource::Nofile).current;
    value(page.gauge("process_max_fds", "How many files may be open."), limit);
}

fn memory(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let bytes = |name: &str| field(name).map(|kib| kib * 1024);
    value(
        page.gauge("process_resident_memory_bytes", "Memory that the process has."),
        bytes("VmRSS:"),
    );
    value(
        page.gauge("process_virtual_memory_bytes", "Addresses that the process has."),
        bytes("VmSize:"),
    );
    value(page.gauge("process_threads", "Threads of the process."), field("Threads:"));
}

fn value(samples: Samples<'_>, value: Option<u64>) {
    if let Some(value) = value {
        samples.is(value);
    }
}

fn runtime(page: &mut Page) {
    let runtime = Handle::current().metrics();
    page.gauge("starling_runtime_workers", "Threads on which tasks run.").is(runtime.num_workers());
    page.gauge("starling_runtime_tasks", "Tasks that have not ended.")
        .is(runtime.num_alive_tasks());
    page.gauge(
        "starling_runtime_queue_depth",
        "Tasks that wait for a thread, in the common queue.",
    )
    .is(runtime.global_queue_depth());
}

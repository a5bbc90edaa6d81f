//! GET /metrics: everything that is counted, by name. The table of names is in README.md.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header};
use wharf_actors::{
    hooks::HooksReport,
    post::{GaugeReport, KindReport, PoolReport, Spread},
    storage::{BOUNDS as STORE_BOUNDS, StoreReport},
};

use super::{
    Site, answer,
    exposition::{Exposition, Format, Value},
    hooks,
    mailboxes::Seen,
    process::Process,
};
use crate::metrics::{BOUNDS, Report};

pub(super) fn metrics(site: &Site, request: &HttpRequest) -> HttpResponse {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::of_accept(accept);
    let mut text = Exposition::new(format);
    requests(&mut text, site, &site.metrics.report());
    uploads(&mut text, site);
    let seen = Seen::now(site);
    mailboxes(&mut text, &seen);
    dwell(&mut text, &seen);
    pools(&mut text, &site.uploads.pools());
    memory(&mut text, site);
    operations(&mut text, &site.uploads.store_report());
    let hooks = site.uploads.hooks_report();
    hook_calls(&mut text, hooks.as_ref());
    outbox(&mut text, hooks.as_ref());
    own(&mut text, site);
    process(&mut text);
    answer::text(format.media_type(), text.finish())
}

fn requests(text: &mut Exposition, site: &Site, report: &Report) {
    let mut family = text.counter("wharf_requests", "Requests of the public listener that have begun.");
    for (method, count) in report.begun {
        family.total(&[("method", method.name())], count);
    }
    let mut family = text.histogram(
        "wharf_request_duration_seconds",
        "From a request's head to the last byte of its answer; the client's own time to send is in it.",
    );
    for (method, took) in &report.latency {
        family.buckets(&[("method", method.name())], &BOUNDS, &took.buckets, (took.count, took.sum));
    }
    let mut family = text.counter("wharf_errors", "Refused requests, by status and error code.");
    for refused in &report.refused {
        family.total(&[("status", &refused.status.to_string()), ("code", refused.code)], refused.count);
    }
    let mut family = text.counter("wharf_check_refusals", "Requests refused for their token or by a limit, by cause.");
    for (cause, count) in report.checked {
        family.total(&[("cause", cause.name())], count);
    }
    text.counter("wharf_throttle_waits", "Reads of bodies that had to wait for a limit of bytes per second.")
        .total(&[], site.limits.waits());
    text.gauge("wharf_uploads_counted", "Unfinished uploads that count for a limit.").is(&[], site.limits.open());
    text.counter("wharf_requests_aborted", "Requests whose client went away before there was an answer.")
        .total(&[], report.aborted);
    text.counter("wharf_sent_bytes", "Bytes of the bodies of answers.").total(&[], report.sent_bytes);
    text.gauge("wharf_connections_open", "Open connections of the public listener.").is(&[], (site.connections)());
}

fn uploads(text: &mut Exposition, site: &Site) {
    let tally = site.uploads.tally();
    text.counter("wharf_received_bytes", "Bytes of uploads that the store has taken.").total(&[], tally.bytes_received);
    text.counter("wharf_uploads_created", "Uploads that were created.").total(&[], tally.created);
    text.counter("wharf_uploads_finished", "Uploads that were finished.").total(&[], tally.finished);
    text.counter("wharf_uploads_terminated", "Uploads that were deleted on request.").total(&[], tally.terminated);
    text.counter("wharf_uploads_expired", "Uploads that were deleted because their time had run out.")
        .total(&[], tally.expired);
    text.gauge("wharf_uploads_live", "Uploads that have an owner in memory.").is(&[], tally.owners_live);
    text.gauge("wharf_leases_open", "Requests that may append to an upload now.").is(&[], tally.leases_open);
    text.counter("wharf_take_overs", "Leases that were granted after another had been ended for them.")
        .total(&[], tally.take_overs);
    let mut family = text.counter("wharf_interruptions", "Leases that ended before their time, by cause.");
    for (cause, count) in &tally.interruptions {
        family.total(&[("cause", cause.name())], *count);
    }
    text.counter("wharf_owners_died", "Owners of uploads that died of a panic.").total(&[], tally.owners_died);
}

/// One family with a sample for each kind.
fn each_kind<V: Into<Value>>(
    text: &mut Exposition,
    seen: &Seen,
    name: &str,
    help: &str,
    is_counter: bool,
    value: impl Fn(&KindReport) -> V,
) {
    let mut family = if is_counter { text.counter(name, help) } else { text.gauge(name, help) };
    for kind in &seen.mailboxes.kinds {
        let labels = [("kind", kind.kind)];
        if is_counter {
            family.total(&labels, value(kind))
        } else {
            family.is(&labels, value(kind))
        };
    }
}

fn mailboxes(text: &mut Exposition, seen: &Seen) {
    let mut gauge = |name: &str, help: &str, value: fn(&KindReport) -> u64| {
        each_kind(text, seen, name, help, false, value);
    };
    gauge("wharf_mailboxes", "Mailboxes that exist.", |kind| kind.live);
    gauge("wharf_mailbox_depth", "Messages that wait, in all mailboxes of the kind.", |kind| kind.depth as u64);
    gauge("wharf_mailbox_depth_peak", "The most messages that ever waited in one of them.", |kind| {
        kind.depth_peak as u64
    });
    gauge("wharf_mailbox_capacity", "How many messages may wait in one of them.", |kind| kind.capacity as u64);
    let mut counter = |name: &str, help: &str, value: fn(&KindReport) -> u64| {
        each_kind(text, seen, name, help, true, value);
    };
    counter("wharf_mailbox_received", "Messages taken in.", |kind| kind.received);
    counter("wharf_mailbox_processed", "Messages opened by their actor, or jobs begun.", |kind| kind.processed);
    counter("wharf_mailbox_refused", "Messages refused because the mailbox was full.", |kind| kind.refused);
    counter("wharf_mailbox_dropped", "Messages that ended unread with their actor.", |kind| kind.dropped);
    counter("wharf_actor_restarts", "Actors that died and were replaced.", |kind| kind.restarts);
}

fn dwell(text: &mut Exposition, seen: &Seen) {
    let oldest = |kind: &KindReport| seen.oldest(kind.kind).unwrap_or_default();
    let help = "How long the oldest waiting message has waited; 0 when none waits.";
    each_kind(text, seen, "wharf_mailbox_oldest_age_seconds", help, false, oldest);
    let help = "1 while messages of the kind wait longer than admin.mailbox_slow_ms.";
    each_kind(text, seen, "wharf_mailbox_slow", help, false, |kind| u64::from(seen.is_slow(kind)));
    let help = "How long messages waited: quantiles of the last minute, sum and count since the start.";
    spreads(text, seen, "wharf_mailbox_dwell_seconds", help, |kind| kind.dwell);
    let help = "How long actors or workers were busy with a message: quantiles of the last minute, sum and count since \
                the start.";
    spreads(text, seen, "wharf_mailbox_processing_seconds", help, |kind| kind.processing);
}

fn spreads(text: &mut Exposition, seen: &Seen, name: &str, help: &str, of: fn(&KindReport) -> Spread) {
    let mut family = text.summary(name, help);
    for kind in &seen.mailboxes.kinds {
        let Spread { since_start, last_minute } = of(kind);
        let late = |quantile: Duration| (last_minute.count > 0).then_some(quantile);
        let quantiles = [("0.5", late(last_minute.p50)), ("0.99", late(last_minute.p99)), ("1", late(last_minute.max))];
        family.quantiles(&[("kind", kind.kind)], &quantiles, (since_start.count, since_start.sum));
    }
}

fn pools(text: &mut Exposition, pools: &[PoolReport]) {
    let mut gauge = |name: &str, help: &str, value: fn(&PoolReport) -> Value| {
        let mut family = text.gauge(name, help);
        for pool in pools {
            family.is(&[("pool", pool.pool)], value(pool));
        }
    };
    gauge("wharf_pool_workers", "Workers, those that are leaving included.", |pool| pool.workers.into());
    gauge("wharf_pool_workers_wanted", "Workers that there ought to be.", |pool| pool.workers_wanted.into());
    gauge("wharf_pool_workers_busy", "Workers that have something in hand.", |pool| pool.busy.into());
    gauge("wharf_pool_queue_depth", "Jobs that wait for a worker.", |pool| pool.queue.depth.into());
    gauge("wharf_pool_queue_capacity", "Jobs that may wait.", |pool| pool.queue.limit.into());
    gauge("wharf_pool_queue_oldest_age_seconds", "How long the oldest of them has waited.", |pool| {
        let GaugeReport { oldest_age, .. } = pool.queue;
        oldest_age.unwrap_or_default().into()
    });
    gauge("wharf_pool_without_room", "Askers that wait for room in the queue.", |pool| pool.without_room.into());
    let mut family = text.counter("wharf_pool_restarts", "Workers that died and were replaced.");
    for pool in pools {
        family.total(&[("pool", pool.pool)], pool.restarts);
    }
}

fn memory(text: &mut Exposition, site: &Site) {
    let budget = site.uploads.budget_report();
    text.gauge("wharf_memory_budget_bytes", "Memory for bytes on their way to the store.").is(&[], budget.total);
    text.gauge("wharf_memory_used_bytes", "How much of it is taken.").is(&[], budget.used);
    text.gauge("wharf_memory_waiting", "Requests that wait for some of it.").is(&[], budget.waiting);
}

fn operations(text: &mut Exposition, report: &StoreReport) {
    let operations = &report.operations;
    let mut family =
        text.histogram("wharf_store_operation_duration_seconds", "Operations of the store, and calls of S3.");
    for of in operations {
        let labels = [("store", of.store), ("operation", of.operation)];
        family.buckets(&labels, &STORE_BOUNDS, &of.buckets, (of.count, of.sum));
    }
    let mut family = text.gauge("wharf_store_operations_under_way", "Operations that have begun and not ended.");
    for of in operations {
        family.is(&[("store", of.store), ("operation", of.operation)], of.under_way);
    }
    let mut family = text.counter("wharf_store_failures", "Operations that failed, by reason.");
    for of in operations {
        for (reason, count) in &of.failures {
            family.total(&[("store", of.store), ("operation", of.operation), ("reason", reason)], *count);
        }
    }
    let mut family =
        text.counter("wharf_store_retries", "Calls of S3 that were tried again, by what was wrong before.");
    for (reason, count) in &report.retries {
        family.total(&[("reason", reason)], *count);
    }
}

/// Without hooks the families are named, and have no samples.
fn hook_calls(text: &mut Exposition, report: Option<&HooksReport>) {
    let calls = report.map(|report| report.calls.as_slice()).unwrap_or_default();
    let mut family = text.counter("wharf_hook_calls", "Calls of hooks that have ended, or could not begin.");
    for of in calls {
        family.total(&[("hook", of.operation)], of.count);
    }
    let mut family = text.counter("wharf_hook_errors", "Calls of hooks that failed, by cause.");
    for of in calls {
        for (cause, count) in hooks::failures(of) {
            family.total(&[("hook", of.operation), ("cause", cause)], count);
        }
    }
    let mut family = text.histogram("wharf_hook_duration_seconds", "How long calls of hooks took, retries included.");
    for of in calls {
        family.buckets(&[("hook", of.operation)], &STORE_BOUNDS, &of.buckets, (of.count, of.sum));
    }
    let mut family = text.gauge("wharf_hook_calls_under_way", "Calls of hooks that have begun and not ended.");
    for of in calls {
        family.is(&[("hook", of.operation)], of.under_way);
    }
}

fn outbox(text: &mut Exposition, report: Option<&HooksReport>) {
    let mut gauge = |name: &str, help: &str, value: fn(&HooksReport) -> Value| {
        let mut family = text.gauge(name, help);
        if let Some(report) = report {
            family.is(&[], value(report));
        }
    };
    let help = "Events in the outbox whose upload has not come to that end yet.";
    gauge("wharf_hook_events_noted", help, |report| report.noted.into());
    let help = "Events in the outbox that the application is still to be told of.";
    gauge("wharf_hook_events_owed", help, |report| report.owed.into());
    let help = "How long ago the oldest of them happened; 0 when there is none.";
    gauge("wharf_hook_events_oldest_age_seconds", help, |report| report.oldest_owed.unwrap_or_default().into());
    let help = "Events that were dropped because too many calls of hooks waited.";
    let mut family = text.counter("wharf_hook_events_dropped", help);
    if let Some(report) = report {
        family.total(&[], report.dropped);
    }
}

fn own(text: &mut Exposition, site: &Site) {
    text.counter("wharf_log_lines_dropped", "Lines of the log that were never written.").total(&[], site.log.dropped());
    text.gauge("wharf_log_lines_waiting", "Lines of the log that wait to be written.").is(&[], site.log.waiting());
    let (applied, refused) = site.reloader.counts();
    text.counter("wharf_settings_reloads", "Readings of the settings while running, by result.")
        .total(&[("result", "taken")], applied)
        .total(&[("result", "refused")], refused);
    text.gauge("wharf_build_info", "Always 1; the version is in the label.")
        .is(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
}

/// By the names that all programs use.
fn process(text: &mut Exposition) {
    let process = Process::now();
    if let Some(cpu) = process.cpu {
        text.counter("process_cpu_seconds", "Processor time in user and kernel mode.").total(&[], cpu);
    }
    if let Some(started) = process.started {
        text.gauge("process_start_time_seconds", "When the process started, since the Unix epoch.").is(&[], started);
    }
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory.", process.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory.", process.virtual_bytes),
        ("process_open_fds", "Open files and sockets.", process.open_files),
        ("process_max_fds", "How many may be open.", process.open_files_max),
        ("process_threads", "Threads.", process.threads),
    ] {
        if let Some(value) = value {
            text.gauge(name, help).is(&[], value);
        }
    }
}

//! The report.

use std::fmt::Write as _;

use super::{
    plot,
    results::{FLOOR, Measure, Measured, Ratio, Results, Rounds, Section},
    table::figure,
};
use crate::workload::Workload;

/// All of it.
pub(crate) fn report(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "# Bench report\n\n{} rounds, medians; ratios are of one round each, and then their median. {} cores of {}, Linux {}.\n\n",
        results.rounds, machine.cores, machine.processor, machine.kernel
    );
    if !results.failures.is_empty() {
        let _ = writeln!(text, "**Not all was right:**\n```text{}```\n", results.failures);
    }
    text.push_str(&summary(results));
    if !results.sections.iter().any(|section| matches!(section.workload, Workload::S3Large | Workload::S3Medium)) {
        text.push_str("Nothing was brought into S3: that needs wharf-s3-testbed beside wharf-benches.\n\n");
    }
    results.sections.iter().for_each(|section| text.push_str(&chapter(section)));
    text.push_str(&servers(results));
    text
}

/// Every server's ratio to the floor, and wharf's to every peer.
fn summary(results: &Results) -> String {
    let names: Vec<&str> = results.servers.iter().map(|server| &*server.name).collect();
    let mut text = String::from("## By the floor\n\n");
    text.push_str(&ratios(results, &names[1..], |section, name| section.ratio(name, FLOOR)));
    let peers: Vec<&str> = names[1..].iter().copied().filter(|name| !name.starts_with("wharf")).collect();
    if peers.is_empty() {
        text.push_str("No peers took part: benches/peers.sh brings them.\n\n");
    } else {
        text.push_str("## wharf by each peer\n\n");
        text.push_str(&ratios(results, &peers, |section, name| section.ratio("wharf", name)));
    }
    text
}

fn ratios(results: &Results, names: &[&str], of: impl Fn(&Section, &str) -> Option<Ratio>) -> String {
    let mut text = format!("| | of | {} |\n|---|---|{}\n", names.join(" | "), "---:|".repeat(names.len()));
    for section in &results.sections {
        let cells =
            names.iter().map(|name| of(section, name).map_or_else(|| "-".to_owned(), |ratio| figure(ratio.median)));
        let measure = section.workload.measure().name(section.workload.unit());
        let _ = writeln!(text, "| {} | {measure} | {} |", section.title, cells.collect::<Vec<_>>().join(" | "));
    }
    text.push('\n');
    text
}

fn chapter(section: &Section) -> String {
    let unit = section.workload.unit();
    let plot = plot::file_of(section);
    let mut text = format!("## {}\n\n![{}]({plot})\n\n", section.title, section.title);
    let any =
        |of: fn(&Measured) -> bool| section.servers.iter().flat_map(|server| server.rounds.iter().flatten()).any(of);
    let columns = COLUMNS.iter().filter(|column| any(column.is_there)).collect::<Vec<_>>();
    let heads = columns.iter().map(|column| column.head.replace("{unit}", unit)).collect::<Vec<_>>();
    let _ = writeln!(text, "| | by floor (range) | {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|---:|{}", "---:|".repeat(columns.len()));
    for server in &section.servers {
        let cells = columns.iter().map(|column| (column.cell)(server)).collect::<Vec<_>>();
        let _ = writeln!(text, "| {} | {} | {} |", server.server, range(section, server), cells.join(" | "));
    }
    text.push('\n');
    text
}

/// A column, which is there when any round has something for it.
struct Column {
    head: &'static str,
    is_there: fn(&Measured) -> bool,
    cell: fn(&Rounds) -> String,
}

const COLUMNS: &[Column] = &[
    Column {
        head: "CPU s/GiB (user + system)",
        is_there: |measured| measured.bytes > 0,
        cell: |server| processor(server, Measure::CpuOfGib),
    },
    Column {
        head: "CPU ms/{unit} (user + system)",
        is_there: |measured| measured.units > 1,
        cell: |server| processor(server, Measure::CpuOfUnit),
    },
    Column {
        head: "p50 ms",
        is_there: |measured| measured.latency.is_some(),
        cell: |server| told(server.median(|measured| Some(measured.latency?.p50_ms))),
    },
    Column {
        head: "p99 ms",
        is_there: |measured| measured.latency.is_some_and(|latency| latency.count > 1),
        cell: |server| told(server.median(|measured| Some(measured.latency?.p99_ms))),
    },
    Column {
        head: "KiB/{unit}",
        is_there: |measured| measured.upload_kib.is_some(),
        cell: |server| told(server.median(|measured| measured.upload_kib)),
    },
    Column { head: "failed, of", is_there: |measured| measured.failed.is_some(), cell: failed },
    Column {
        head: "idle, peak RSS MiB",
        is_there: |measured| measured.peak_kib > 0,
        cell: |server| {
            let mib = |kib: u64| Some(kib as f64 / 1024.0);
            let (idle, peak) =
                (server.median(|measured| mib(measured.idle_kib)), server.median(|measured| mib(measured.peak_kib)));
            format!("{}, {}", told(idle), told(peak))
        },
    },
    Column { head: "s", is_there: |_| true, cell: |server| told(server.median(|measured| Some(measured.secs))) },
];

fn told(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}

fn processor(server: &Rounds, measure: Measure) -> String {
    let all = server.median(|measured| measured.of(measure));
    let user = server.median(|measured| Some(measured.of(measure)? * measured.user_share()));
    let system = server.median(|measured| Some(measured.of(measure)? * (1.0 - measured.user_share())));
    if all.is_none() { told(all) } else { format!("{} ({} + {})", told(all), told(user), told(system)) }
}

/// Over all rounds.
fn failed(server: &Rounds) -> String {
    let failed: usize = server.rounds.iter().flatten().filter_map(|measured| measured.failed).sum();
    let done: usize = server.rounds.iter().flatten().map(|measured| measured.units).sum();
    format!("{failed} of {}", failed + done)
}

fn range(section: &Section, server: &Rounds) -> String {
    let ratio = section.ratio(&server.server, FLOOR);
    let range =
        ratio.map(|ratio| format!("{} ({} to {})", figure(ratio.median), figure(ratio.least), figure(ratio.most)));
    range.unwrap_or_else(|| "-".to_owned())
}

fn servers(results: &Results) -> String {
    let mut text = String::from("## The servers\n\n");
    for server in &results.servers {
        let _ = writeln!(text, "- {}: `{}`", server.name, server.command);
    }
    text
}

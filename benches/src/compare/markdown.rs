//! The report.

use std::fmt::Write as _;

use super::{
    plot,
    results::{FLOOR, Measured, Results, Rounds, Section},
    table::figure,
};

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

fn ratios(results: &Results, names: &[&str], of: impl Fn(&Section, &str) -> Option<super::results::Ratio>) -> String {
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
    let _ = writeln!(
        text,
        "| | by floor (range) | CPU s/GiB | user, system | CPU ms/{unit} | p50 ms | p99 ms | peak RSS MiB | KiB/upload | s |"
    );
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    section.servers.iter().for_each(|server| text.push_str(&row(section, server)));
    text.push('\n');
    text
}

fn row(section: &Section, server: &Rounds) -> String {
    use super::results::Measure::{CpuOfGib, CpuOfUnit};
    let of = |of: &dyn Fn(&Measured) -> Option<f64>| server.median(of).map_or_else(|| "-".to_owned(), figure);
    let ratio = section.ratio(&server.server, FLOOR).map_or_else(
        || "-".to_owned(),
        |ratio| format!("{} ({} to {})", figure(ratio.median), figure(ratio.least), figure(ratio.most)),
    );
    let cells = [
        ratio,
        of(&|measured| measured.of(CpuOfGib)),
        format!(
            "{} %, {} %",
            of(&|measured| Some((measured.user_share() * 100.0).round())),
            of(&|measured| Some((100.0 - measured.user_share() * 100.0).round()))
        ),
        of(&|measured| measured.of(CpuOfUnit)),
        of(&|measured| measured.latency.map(|latency| latency.p50_ms)),
        of(&|measured| measured.latency.map(|latency| latency.p99_ms)),
        of(&|measured| Some(measured.peak_kib as f64 / 1024.0)),
        of(&|measured| measured.upload_kib),
        of(&|measured| Some(measured.secs)),
    ];
    format!("| {} | {} |\n", server.server, cells.join(" | "))
}

fn servers(results: &Results) -> String {
    let mut text = String::from("## The servers\n\n");
    for server in &results.servers {
        let _ = writeln!(text, "- {}: `{}`", server.name, server.command);
    }
    text
}

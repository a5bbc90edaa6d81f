//! The short table for the terminal.

use std::fmt::Write as _;

use super::results::{FLOOR, Results, Section};

/// One line for each workload and server.
pub(crate) fn of(results: &Results) -> String {
    let mut text = String::new();
    for section in &results.sections {
        let _ = writeln!(text, "{}", section.title);
        let measure = section.workload.measure().name(section.workload.unit());
        let _ = writeln!(
            text,
            "  {:<18}{measure:>22}{:>12}{:>12}{:>12}{:>12}",
            "", "by floor", "p50 ms", "p99 ms", "peak MiB"
        );
        for server in &section.servers {
            let _ = writeln!(text, "{}", line(section, &server.server));
        }
    }
    text
}

fn line(section: &Section, name: &str) -> String {
    let told = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
    let server = section.server(name);
    let of = |of: fn(&super::results::Measured) -> Option<f64>| told(server.and_then(|server| server.median(of)));
    let ratio = told(section.ratio(name, FLOOR).map(|ratio| ratio.median));
    let p50 = of(|measured| measured.latency.map(|latency| latency.p50_ms));
    let p99 = of(|measured| measured.latency.map(|latency| latency.p99_ms));
    let peak = of(|measured| Some(measured.peak_kib as f64 / 1024.0));
    format!("  {name:<18}{:>22}{ratio:>12}{p50:>12}{p99:>12}{peak:>12}", told(section.figure(name)))
}

/// Three digits that count, as far as they are behind the point.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([1234.5, 12.34, 1.234, 0.1234].map(figure), ["1234", "12.3", "1.23", "0.123"]);
    }
}

//! The two text formats of metrics: OpenMetrics 1.0.0, and the older one of Prometheus (0.0.4).

use std::{fmt::Write, time::Duration};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics, unless somebody accepts the older one only.
    pub(super) fn of_accept(accept: &str) -> Self {
        let is_old = accept.contains("text/plain") && !accept.contains("application/openmetrics-text");
        if is_old { Self::Prometheus } else { Self::OpenMetrics }
    }
}

/// Names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A number as it stands in a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        Self::Whole(whole)
    }
}

impl From<usize> for Value {
    fn from(whole: usize) -> Self {
        Self::Whole(whole as u64)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Real(duration.as_secs_f64())
    }
}

/// The text while it is written.
pub(super) struct Exposition {
    format: Format,
    text: String,
}

/// A family of samples under one name. All of them follow one another.
pub(super) struct Family<'a> {
    exposition: &'a mut Exposition,
    name: &'a str,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::with_capacity(16 * 1024) }
    }

    /// A number that goes up and down.
    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }

    /// A number that only grows. The name is without `_total`.
    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help)
    }

    /// Durations, in buckets.
    pub(super) fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "histogram", help)
    }

    /// Durations, by quantiles.
    pub(super) fn summary<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "summary", help)
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        // The older format knows a counter by the name of its sample.
        let suffix = if kind == "counter" && self.format == Format::Prometheus { "_total" } else { "" };
        let _ = writeln!(self.text, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        if let Some(unit) = unit.filter(|_| self.format == Format::OpenMetrics) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        Family { exposition: self, name }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn sample(&mut self, (name, suffix): (&str, &str), labels: Labels<'_>, more: Option<(&str, &str)>, value: Value) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        for (place, (label, value)) in labels.iter().copied().chain(more).enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if place == 0 { '{' } else { ',' });
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() || more.is_some() {
            self.text.push('}');
        }
        let _ = match value {
            Value::Whole(whole) => writeln!(self.text, " {whole}"),
            Value::Real(real) => writeln!(self.text, " {real}"),
        };
    }
}

impl Family<'_> {
    /// A gauge's value.
    pub(super) fn is(&mut self, labels: Labels<'_>, value: impl Into<Value>) -> &mut Self {
        self.exposition.sample((self.name, ""), labels, None, value.into());
        self
    }

    /// A counter's value.
    pub(super) fn total(&mut self, labels: Labels<'_>, value: impl Into<Value>) -> &mut Self {
        self.exposition.sample((self.name, "_total"), labels, None, value.into());
        self
    }

    /// A histogram: how many took no longer than each bound, and all of them.
    pub(super) fn buckets(
        &mut self,
        labels: Labels<'_>,
        bounds: &[Duration],
        counts: &[u64],
        (count, sum): (u64, Duration),
    ) -> &mut Self {
        for (bound, below) in bounds.iter().zip(counts) {
            let bound = format!("{:?}", bound.as_secs_f64());
            self.exposition.sample((self.name, "_bucket"), labels, Some(("le", &bound)), (*below).into());
        }
        self.exposition.sample((self.name, "_bucket"), labels, Some(("le", "+Inf")), count.into());
        self.sum_and_count(labels, (count, sum))
    }

    /// A summary: quantiles (of late), and all of them (since the start).
    pub(super) fn quantiles(
        &mut self,
        labels: Labels<'_>,
        quantiles: &[(&str, Option<Duration>)],
        (count, sum): (u64, Duration),
    ) -> &mut Self {
        for (quantile, value) in quantiles {
            let value = value.map_or(Value::Real(f64::NAN), Value::from);
            self.exposition.sample((self.name, ""), labels, Some(("quantile", quantile)), value);
        }
        self.sum_and_count(labels, (count, sum))
    }

    fn sum_and_count(&mut self, labels: Labels<'_>, (count, sum): (u64, Duration)) -> &mut Self {
        self.exposition.sample((self.name, "_sum"), labels, None, sum.into());
        self.exposition.sample((self.name, "_count"), labels, None, count.into());
        self
    }
}

fn escape(value: &str, text: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut text = Exposition::new(format);
        text.counter("w_sent_bytes", "Bytes.").total(&[("a", "x\"\\\n")], 5_u64).total(&[], 0_u64);
        text.gauge("w_open", "Open.").is(&[], 3_usize);
        let second = Duration::from_secs(1);
        text.histogram("w_took_seconds", "Times.").buckets(
            &[("m", "GET")],
            &[second / 2, second],
            &[1, 2],
            (3, second),
        );
        text.summary("w_dwell_seconds", "Dwell.").quantiles(&[], &[("0.5", None), ("0.99", Some(second))], (2, second));
        text.finish()
    }

    #[test]
    fn open_metrics() {
        let expected = "# HELP w_sent_bytes Bytes.\n# TYPE w_sent_bytes counter\n# UNIT w_sent_bytes bytes\n\
            w_sent_bytes_total{a=\"x\\\"\\\\\\n\"} 5\nw_sent_bytes_total 0\n\
            # HELP w_open Open.\n# TYPE w_open gauge\nw_open 3\n\
            # HELP w_took_seconds Times.\n# TYPE w_took_seconds histogram\n# UNIT w_took_seconds seconds\n\
            w_took_seconds_bucket{m=\"GET\",le=\"0.5\"} 1\nw_took_seconds_bucket{m=\"GET\",le=\"1.0\"} 2\n\
            w_took_seconds_bucket{m=\"GET\",le=\"+Inf\"} 3\nw_took_seconds_sum{m=\"GET\"} 1\nw_took_seconds_count{m=\"GET\"} 3\n\
            # HELP w_dwell_seconds Dwell.\n# TYPE w_dwell_seconds summary\n# UNIT w_dwell_seconds seconds\n\
            w_dwell_seconds{quantile=\"0.5\"} NaN\nw_dwell_seconds{quantile=\"0.99\"} 1\nw_dwell_seconds_sum 1\n\
            w_dwell_seconds_count 2\n# EOF\n";
        assert_eq!(written(Format::OpenMetrics), expected);
    }

    #[test]
    fn the_older_format_differs_in_its_comments_only() {
        let old = written(Format::Prometheus);
        assert!(
            old.starts_with("# HELP w_sent_bytes_total Bytes.\n# TYPE w_sent_bytes_total counter\nw_sent_bytes_total{")
        );
        let samples = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&old), samples(&written(Format::OpenMetrics)));
        assert!(!old.contains("EOF") && !old.contains("UNIT"));
    }

    #[test]
    fn the_older_format_is_for_those_who_know_no_other() {
        for (accept, format) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4", Format::OpenMetrics),
        ] {
            assert_eq!(Format::of_accept(accept), format, "{accept}");
        }
    }
}

//! What is kept of a run, and how it is shown.

use std::{
    fmt::{self, Display},
    time::Instant,
};

use serde::Serialize;

use crate::{
    process::Sample,
    target::{Target, TargetError},
    workload::{paced::Paced, stalled},
};

/// How many failures are shown in full.
const SHOWN: usize = 10;

/// What went wrong: all of it counted, the first of it told.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Failures {
    count: usize,
    first: Vec<String>,
}

impl Failures {
    pub(crate) fn add_all(&mut self, failures: impl Iterator<Item = String>) {
        for failure in failures {
            self.count += 1;
            if self.first.len() < SHOWN {
                self.first.push(failure);
            }
        }
    }

    /// Keeps the failures, and returns the rest.
    pub(crate) fn sort_out<Good, Bad: Display>(&mut self, step: &str, outcomes: Vec<Result<Good, Bad>>) -> Vec<Good> {
        let mut good = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                Ok(value) => good.push(value),
                Err(failure) => self.add_all([format!("{step}: {failure}")].into_iter()),
            }
        }
        good
    }

    /// Those that are told.
    pub(crate) fn told(&self) -> impl Iterator<Item = String> {
        self.first.iter().cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Display for Failures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count > 0 {
            writeln!(formatter, "\n{} failures, the first:", self.count)?;
        }
        self.first.iter().try_for_each(|failure| writeln!(formatter, "  {failure}"))
    }
}

/// A part of a run: how long it took, what processor time the server spent on it, and what it held at its end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Phase {
    name: &'static str,
    secs: f64,
    cpu_secs: f64,
    resident_kib: u64,
    peak_kib: u64,
}

/// The phases of a run, one after the other.
pub(crate) struct Phases<'a> {
    target: &'a Target,
    since: Instant,
    last: Sample,
    all: Vec<Phase>,
}

impl<'a> Phases<'a> {
    pub(crate) fn begin(target: &'a Target) -> Result<Self, TargetError> {
        let last = target.sample()?;
        let (Sample { resident_kib, peak_kib, .. }, cpu_secs) = (last, last.cpu_secs());
        let start = Phase { name: "start", secs: 0.0, cpu_secs, resident_kib, peak_kib };
        Ok(Self { target, since: Instant::now(), last, all: vec![start] })
    }

    /// Ends a phase and begins the next.
    pub(crate) fn end(&mut self, name: &'static str) -> Result<Sample, TargetError> {
        let sample = self.target.sample()?;
        let Sample { resident_kib, peak_kib, .. } = sample;
        let secs = self.since.elapsed().as_secs_f64();
        self.all.push(Phase { name, secs, cpu_secs: sample.cpu_secs() - self.last.cpu_secs(), resident_kib, peak_kib });
        (self.since, self.last) = (Instant::now(), sample);
        Ok(sample)
    }

    pub(crate) fn into_all(self) -> Vec<Phase> {
        self.all
    }
}

/// What a workload has to tell.
pub(crate) trait Outcome: Display + Serialize {
    /// Whether all was as it must be.
    fn is_right(&self) -> bool;

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

impl Outcome for stalled::Report {
    /// Whether every upload stalled, was completed and holds what was sent.
    fn is_right(&self) -> bool {
        let all = self.uploads as usize;
        self.failures.is_empty() && self.stalled == all && self.completed == all
    }
}

impl Display for stalled::Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uploads, part_bytes, length_bytes, stalled, completed, .. } = self;
        writeln!(formatter, "{uploads} uploads of {length_bytes} bytes, stalled after {part_bytes}")?;
        writeln!(formatter, "  stalled at once        {stalled}")?;
        writeln!(formatter, "  completed, verified    {completed}")?;
        writeln!(formatter, "  memory per upload      {:.1} KiB (server's RSS over idle)", self.memory_per_upload_kib)?;
        writeln!(formatter, "  at the peak            {:.1} KiB", self.peak_memory_per_upload_kib)?;
        let sockets = self.socket_memory_per_upload_kib;
        writeln!(formatter, "  socket buffers         {sockets:.1} KiB (the kernel's, both ends, not in the above)\n")?;
        table_of_heads(formatter, [("idle", &self.heads_before), ("stalled", &self.heads_while_stalled)])?;
        table_of_phases(formatter, &self.phases)?;
        write!(formatter, "{}", self.failures)
    }
}

fn table_of_heads(formatter: &mut fmt::Formatter<'_>, rows: [(&str, &Paced); 2]) -> fmt::Result {
    writeln!(
        formatter,
        "{:<16}{:>10}{:>10}{:>10}{:>10}{:>16}",
        "HEAD, ms", "count", "p50", "p99", "max", "sent late p99"
    )?;
    for (name, Paced { latency, sent_late }) in rows {
        let (p50, p99, max, late) = (latency.p50_ms, latency.p99_ms, latency.max_ms, sent_late.p99_ms);
        writeln!(formatter, "{name:<16}{:>10}{p50:>10.2}{p99:>10.2}{max:>10.2}{late:>16.2}", latency.count)?;
    }
    writeln!(formatter)
}

fn table_of_phases(formatter: &mut fmt::Formatter<'_>, phases: &[Phase]) -> fmt::Result {
    writeln!(formatter, "{:<16}{:>10}{:>10}{:>12}{:>12}", "server in phase", "s", "CPU s", "RSS KiB", "peak KiB")?;
    for Phase { name, secs, cpu_secs, resident_kib, peak_kib } in phases {
        writeln!(formatter, "{name:<16}{secs:>10.2}{cpu_secs:>10.2}{resident_kib:>12}{peak_kib:>12}")?;
    }
    Ok(())
}

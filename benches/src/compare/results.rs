//! What is kept of a comparison, and what follows from it: medians, and ratios round by round.

use serde::Serialize;

use super::{recipe::About, sizes::Sizes};
use crate::{figures::Quantiles, figures::median, report::Failures, workload::Workload};

const GIB: f64 = (1_u64 << 30) as f64;

/// The server that all others are held against.
pub(crate) const FLOOR: &str = "floor";

/// A comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) rounds: u16,
    pub(crate) machine: Machine,
    pub(crate) servers: Vec<About>,
    pub(crate) sections: Vec<Section>,
    pub(crate) failures: Failures,
}

/// What it was measured on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
}

/// One workload.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) workload: Workload,
    pub(crate) title: String,
    pub(crate) servers: Vec<Rounds>,
}

/// One server's rounds, in order; a round that went wrong has no figures.
#[derive(Debug, Serialize)]
pub(crate) struct Rounds {
    pub(crate) server: String,
    pub(crate) rounds: Vec<Option<Measured>>,
}

/// One turn of one server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) secs: f64,
    pub(crate) user_secs: f64,
    pub(crate) system_secs: f64,
    pub(crate) bytes: usize,
    pub(crate) units: usize,
    pub(crate) latency: Option<Quantiles>,
    pub(crate) idle_kib: u64,
    pub(crate) peak_kib: u64,
    /// Resident memory for each upload that stalls.
    pub(crate) upload_kib: Option<f64>,
    /// How many of the units were not done, where that is counted.
    pub(crate) failed: Option<usize>,
}

/// What a workload's plot and ratios are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// Processor time for each GiB.
    CpuOfGib,
    /// Processor time for each unit: an upload, a request.
    CpuOfUnit,
    /// Memory for each upload that stalls.
    Memory,
    /// The slowest of a hundred.
    Latency,
}

impl Measure {
    /// What it is called, with its unit.
    pub(crate) fn name(self, unit: &str) -> String {
        match self {
            Self::CpuOfGib => "CPU s per GiB".to_owned(),
            Self::CpuOfUnit => format!("CPU ms per {unit}"),
            Self::Memory => "KiB per upload".to_owned(),
            Self::Latency => "p99 in ms".to_owned(),
        }
    }
}

impl Measured {
    /// Of a program of which no more is known.
    pub(crate) fn of_processor(user_secs: f64, system_secs: f64, secs: f64, bytes: usize) -> Self {
        Self {
            secs,
            user_secs,
            system_secs,
            bytes,
            units: 1,
            latency: None,
            idle_kib: 0,
            peak_kib: 0,
            upload_kib: None,
            failed: None,
        }
    }

    /// What two programs use for the same bytes.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let (user_secs, system_secs) = (self.user_secs + other.user_secs, self.system_secs + other.system_secs);
        Self::of_processor(user_secs, system_secs, self.secs + other.secs, self.bytes)
    }

    pub(crate) fn of(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::CpuOfGib => Some(self.cpu_secs() / (self.bytes as f64 / GIB)),
            Measure::CpuOfUnit => Some(self.cpu_secs() * 1000.0 / self.units as f64),
            Measure::Memory => self.upload_kib,
            Measure::Latency => self.latency.map(|latency| latency.p99_ms),
        }
    }

    pub(crate) fn cpu_secs(&self) -> f64 {
        self.user_secs + self.system_secs
    }

    /// Of the processor time, which part the server spent in user mode.
    pub(crate) fn user_share(&self) -> f64 {
        if self.cpu_secs() > 0.0 { self.user_secs / self.cpu_secs() } else { 0.0 }
    }
}

impl Rounds {
    pub(crate) fn new(server: &str) -> Self {
        Self { server: server.to_owned(), rounds: Vec::new() }
    }

    /// The median of what the rounds say.
    pub(crate) fn median(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().flatten().filter_map(of))
    }
}

/// One server by another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Section {
    pub(crate) fn new(workload: Workload, sizes: &Sizes) -> Self {
        Self { workload, title: workload.title(sizes), servers: Vec::new() }
    }

    pub(crate) fn server(&self, name: &str) -> Option<&Rounds> {
        self.servers.iter().find(|server| server.server == name)
    }

    /// What this workload is about, of one server: the median.
    pub(crate) fn figure(&self, server: &str) -> Option<f64> {
        let measure = self.workload.measure();
        self.server(server)?.median(|measured| measured.of(measure))
    }

    /// One server by another, round by round.
    pub(crate) fn ratio(&self, server: &str, by: &str) -> Option<Ratio> {
        let measure = self.workload.measure();
        let pairs = self.server(server)?.rounds.iter().zip(&self.server(by)?.rounds);
        let ratios: Vec<f64> = pairs
            .filter_map(|(one, other)| Some(one.as_ref()?.of(measure)? / other.as_ref()?.of(measure)?))
            .filter(|ratio| ratio.is_finite())
            .collect();
        let median = median(ratios.iter().copied())?;
        let (least, most) =
            (ratios.iter().copied().fold(median, f64::min), ratios.iter().copied().fold(median, f64::max));
        Some(Ratio { median, least, most })
    }
}

impl Results {
    pub(crate) fn new(rounds: u16, servers: Vec<About>) -> Self {
        Self { rounds, machine: Machine::look(), servers, sections: Vec::new(), failures: Failures::default() }
    }
}

impl Machine {
    fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let name = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_secs: f64) -> Option<Measured> {
        Some(Measured { units: 100, ..Measured::of_processor(cpu_secs / 4.0, cpu_secs * 3.0 / 4.0, 1.0, 1 << 29) })
    }

    fn section(floor: Vec<Option<Measured>>, wharf: Vec<Option<Measured>>) -> Section {
        let rounds = |server: &str, rounds| Rounds { server: server.to_owned(), rounds };
        let servers = vec![rounds("floor", floor), rounds("wharf", wharf)];
        Section { workload: Workload::Small, title: String::new(), servers }
    }

    #[test]
    fn figures_are_for_one_gib_and_for_one_unit() {
        let measured = measured(2.0).unwrap();
        assert_eq!(measured.of(Measure::CpuOfGib), Some(4.0));
        assert_eq!(measured.of(Measure::CpuOfUnit), Some(20.0));
        assert_eq!((measured.of(Measure::Latency), measured.user_share()), (None, 0.25));
    }

    #[test]
    fn ratios_are_of_one_round_each() {
        let section = section(
            vec![measured(1.0), measured(2.0), measured(4.0)],
            vec![measured(3.0), measured(2.0), measured(8.0)],
        );
        // The ratio of the medians would be 1.5.
        assert_eq!(section.ratio("wharf", FLOOR), Some(Ratio { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(section.figure("wharf"), Some(30.0));
    }

    #[test]
    fn a_round_that_went_wrong_for_one_is_no_ratio() {
        let section = section(vec![None, measured(2.0)], vec![measured(3.0), measured(2.0)]);
        assert_eq!(section.ratio("wharf", FLOOR), Some(Ratio { median: 1.0, least: 1.0, most: 1.0 }));
        assert_eq!(section.ratio("wharf", "nobody"), None);
    }
}

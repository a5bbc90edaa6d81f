//! What Linux says of this process.

use std::{
    fs,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// When the endpoint was first started: the process is as good as that old. /proc says more exactly, but in a sandbox it
/// does not show what that takes.
static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// Takes note of the start.
pub(super) fn note_start() {
    LazyLock::force(&STARTED);
}

/// The process at one moment; what can't be found out is missing.
pub(super) struct Process {
    pub(super) cpu: Option<Duration>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_max: Option<u64>,
    pub(super) threads: Option<u64>,
    /// Since the Unix epoch.
    pub(super) started: Option<Duration>,
}

impl Process {
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, the name, may hold anything but ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok());
        let ticks = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1));
        Self {
            cpu: field(14).zip(field(15)).map(|(user, system)| ticks(user + system)),
            threads: field(20),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages.saturating_mul(page_size() as u64)),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            open_files_max: getrlimit(Resource::Nofile).current,
            started: STARTED.duration_since(UNIX_EPOCH).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        let process = Process::now();
        assert!(process.threads > Some(0) && process.open_files > Some(2) && process.cpu.is_some());
        assert!(process.resident_bytes > Some(1 << 20) && process.virtual_bytes >= process.resident_bytes);
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - process.started.unwrap();
        assert!(age < Duration::from_secs(24 * 3600), "{age:?}");
    }
}

//! What Linux tells of a process and of its sockets.

use std::{fs, io};

use serde::Serialize;

/// One look at a process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Memory that is in use now (VmRSS).
    pub(crate) resident_kib: u64,
    /// The most that has ever been in use (VmHWM).
    pub(crate) peak_kib: u64,
    /// Processor time so far, in user mode.
    pub(crate) user_secs: f64,
    /// Processor time so far, in kernel mode.
    pub(crate) system_secs: f64,
}

impl Sample {
    pub(crate) fn cpu_secs(&self) -> f64 {
        self.user_secs + self.system_secs
    }
}

/// What lies between the two ends of a port's connections on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Transit {
    /// Connections that are established, as the server sees them.
    pub(crate) connections: usize,
    /// Bytes that were sent and have not been acknowledged.
    pub(crate) unsent: u64,
    /// Bytes that have arrived and have not been read by the server.
    pub(crate) unread: u64,
}

/// Looks at a process and all its descendants, as at one: those that it has waited for count with their processor time.
///
/// # Errors
/// When it is gone, or may not be looked at.
pub(crate) fn sample(pid: u32) -> io::Result<Sample> {
    let mut sum = sample_one(pid)?;
    for descendant in descendants(pid)? {
        // It may end while it is looked at.
        let Ok(one) = sample_one(descendant) else { continue };
        sum.resident_kib += one.resident_kib;
        sum.peak_kib += one.peak_kib;
        sum.user_secs += one.user_secs;
        sum.system_secs += one.system_secs;
    }
    Ok(sum)
}

/// Lets the peak of a process and its descendants begin anew with what they use now.
///
/// # Errors
/// When it is gone, or is somebody else's.
pub(crate) fn reset_peak(pid: u32) -> io::Result<()> {
    for pid in descendants(pid)?.into_iter().chain([pid]) {
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    }
    Ok(())
}

/// All processes that descend from this one.
fn descendants(pid: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes come and go meanwhile.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parents.extend(parent(&stat).map(|parent| (pid, parent)));
    }
    Ok(below(pid, &parents))
}

fn below(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|known| known.1 == parent).map(|known| known.0));
        at += 1;
    }
    found.split_off(1)
}

/// Field 4, counted from behind the name.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn sample_one(pid: u32) -> io::Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (resident_kib, peak_kib) = (kib_after(&status, "VmRSS:"), kib_after(&status, "VmHWM:"));
    let (Some(resident_kib), Some(peak_kib), Some((user, system))) = (resident_kib, peak_kib, cpu_ticks(&stat)) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "/proc is not understood"));
    };
    let secs = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Sample { resident_kib, peak_kib, user_secs: secs(user), system_secs: secs(system) })
}

fn kib_after(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// utime and stime, with cutime and cstime: fields 14 to 17, counted from behind the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<u64> = rest.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    let [user, system, waited_user, waited_system] = fields[..] else { return None };
    Some((user + waited_user, system + waited_system))
}

/// Looks at all connections of a port.
///
/// # Errors
/// When the kernel's tables can't be read.
pub(crate) fn transit(port: u16) -> io::Result<Transit> {
    let mut transit = Transit::default();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(table) => add_table(&table, port, &mut transit),
            // A machine without IPv6 has no second table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(transit)
}

fn add_table(table: &str, port: u16, transit: &mut Transit) {
    const ESTABLISHED: &str = "01";
    let is_port =
        |address: &str| address.rsplit_once(':').is_some_and(|(_, known)| u16::from_str_radix(known, 16) == Ok(port));
    let bytes = |hex: &str| u64::from_str_radix(hex, 16).unwrap_or(0);
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(remote)) = (fields.next(), fields.next()) else { continue };
        let (Some(ESTABLISHED), Some(queues)) = (fields.next(), fields.next()) else { continue };
        let Some((unsent, unread)) = queues.split_once(':') else { continue };
        if is_port(local) {
            transit.connections += 1;
            transit.unread += bytes(unread);
        }
        if is_port(remote) {
            transit.unsent += bytes(unsent);
        }
    }
}

/// The memory of all TCP sockets of this machine: neither end's process is charged with it.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn socket_memory_kib() -> io::Result<u64> {
    let sockstat = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let pages = tcp.split_whitespace().skip_while(|word| *word != "mem").nth(1).and_then(|pages| pages.parse().ok());
    Ok(pages.unwrap_or(0_u64) * rustix::param::page_size() as u64 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "12 (a) b (c)) S 1 12 12 0 -1 4194560 100 0 3 0 250 150 9 8 20 0 4 0 100 1000 20";
        assert_eq!(cpu_ticks(stat), Some((259, 158)));
        assert_eq!(parent(stat), Some(1));
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        assert_eq!(below(5, &[(9, 7), (7, 5), (8, 1), (6, 5), (1, 0)]), [7, 6, 9]);
        assert_eq!(below(8, &[(9, 7)]), [0; 0]);
    }

    #[test]
    fn memory_is_found_by_its_key() {
        let status = "Name:\tserver\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kib_after(status, "VmRSS:"), Some(1024));
        assert_eq!(kib_after(status, "VmSwap:"), None);
    }

    #[test]
    fn both_ends_of_a_connection_are_counted_for_what_they_hold() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n\
             1: 0100007F:1F90 0100007F:9C40 01 00000000:00000010 00:00000000\n\
             2: 0100007F:9C40 0100007F:1F90 01 00000020:00000000 00:00000000\n\
             3: 0100007F:9C41 0100007F:1F91 01 00000040:00000000 00:00000000\n";
        let mut transit = Transit::default();
        add_table(table, 0x1f90, &mut transit);
        assert_eq!(transit, Transit { connections: 1, unsent: 0x20, unread: 0x10 });
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let sample = sample(std::process::id()).unwrap();
        assert!(sample.resident_kib > 0 && sample.peak_kib >= sample.resident_kib);
    }
}

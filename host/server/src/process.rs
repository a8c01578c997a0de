//! What this process uses, as Linux tells it. Elsewhere nothing is known.

use std::fs;
use std::time::Duration;

/// Linux counts a process's time in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// The processor's time since it began, of all threads.
pub(crate) fn cpu() -> Option<Duration> {
    cpu_in(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// The memory that it has now.
pub(crate) fn resident_bytes() -> Option<u64> {
    bytes_in(&status()?, "VmRSS:")
}

/// The most that it had since [`forget_peak`], where that is allowed, else since it began.
pub(crate) fn peak_bytes() -> Option<u64> {
    bytes_in(&status()?, "VmHWM:")
}

/// Lets the most begin again at what is now.
pub(crate) fn forget_peak() {
    // Where it is not allowed, the peak is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status() -> Option<String> {
    fs::read_to_string("/proc/self/status").ok()
}

fn cpu_in(stat: &str) -> Option<Duration> {
    // The second field is the program's name, which may have anything in it but ends with this.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

fn bytes_in(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found_among_the_others() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 5 0 99 1000 20";
        assert_eq!(cpu_in(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_in("17 (cut) S 1"), None);
        let status = "VmPeak:\t   900 kB\nVmHWM:\t   300 kB\nVmRSS:\t   200 kB\n";
        assert_eq!(bytes_in(status, "VmRSS:"), Some(200 * 1024));
        assert_eq!(bytes_in(status, "VmHWM:"), Some(300 * 1024));
        assert_eq!(bytes_in(status, "VmSwap:"), None);
    }
}

//! The memory of processes, as Linux counts it.

use std::fs;

fn status(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// The resident memory of this process, in bytes.
pub fn resident() -> u64 {
    status("self", "VmRSS")
}

/// The resident memory of another process, in bytes.
pub fn resident_of(process: u32) -> u64 {
    status(&process.to_string(), "VmRSS")
}

/// The most resident memory of this process since [`forget_the_most`], in bytes.
pub fn most_resident() -> u64 {
    status("self", "VmHWM")
}

/// The most resident memory counts from now.
pub fn forget_the_most() {
    // Where it cannot be written, what came before counts, too, and figures are too large rather than too small.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

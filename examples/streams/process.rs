//! What a process costs, as Linux tells it.

use anyhow::{Context, Result};
use std::time::Duration;

/// Processor time of this process so far, all threads, user and system.
pub fn processor_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("no /proc: this needs Linux")?;
    // Behind the name, which may have spaces: fields 14 and 15, in ticks of 1/100 s on all of Linux's machines of today.
    let fields: Vec<&str> = stat.rsplit_once(')').context("/proc/self/stat")?.1.split_whitespace().collect();
    let ticks = |n: usize| -> Result<u64> { Ok(fields.get(n - 3).context("/proc/self/stat")?.parse()?) };
    Ok(Duration::from_millis(10 * (ticks(14)? + ticks(15)?)))
}

/// Memory of process `pid` that is in use, bytes.
pub fn memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no /proc: this needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(1024 * kilobytes)
}

//! What a process has used, by /proc.

use anyhow::Context as _;

/// Ticks a second in which /proc counts time; Linux shows 100 to user space everywhere.
const TICKS: f64 = 100.0;

/// Seconds of processor time that the process `pid` has used, all threads.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after) = stat.rsplit_once(')').context("stat has no name")?;
    let mut words = after.split_ascii_whitespace().skip(11);
    let mut ticks = || words.next().and_then(|word| word.parse::<f64>().ok()).context("stat is short");
    Ok((ticks()? + ticks()?) / TICKS)
}

/// Resident memory now, in MiB.
pub(crate) fn rss(pid: u32) -> anyhow::Result<f64> {
    status(pid, "VmRSS:")
}

/// The most resident memory since [`forget_peak`], in MiB.
pub(crate) fn peak(pid: u32) -> anyhow::Result<f64> {
    status(pid, "VmHWM:")
}

/// Lets the peak begin anew at what is resident now.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status(pid: u32, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("status lacks the line")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

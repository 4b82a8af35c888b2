//! Process and machine statistics from `/proc` (proc(5)). All are absent where the system has no such file.

use std::fs;

/// Resident memory of this process in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// Largest resident memory of this process so far in bytes.
pub(crate) fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Whether this process ignores a signal, as `nohup` lets it ignore SIGHUP.
pub(crate) fn ignores(signal: i32) -> bool {
    let mask = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    mask().is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// `/proc` counts processor time in hundredths of a second, independently of the kernel's tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of all threads of this process so far in seconds.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program name in brackets may contain anything; user and system time are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS_PER_SECOND)
}

/// Model name of the first core.
pub(crate) fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map(|(_, name)| name.trim().to_owned())
}

/// Busy and idle time of all cores of the machine in hundredths of a second, over all processes.
#[cfg(feature = "kafka")]
pub(crate) struct MachineTime {
    busy: u64,
    idle: u64,
}

#[cfg(feature = "kafka")]
impl MachineTime {
    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let times: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).map_while(|time| time.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, ..] = times[..] else { return None };
        Some(MachineTime { busy: user + nice + system + irq + softirq, idle: idle + iowait })
    }

    /// Share of the cores that was busy since `before`.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn busy_since(&self, before: &Self) -> f64 {
        let (busy, idle) = ((self.busy - before.busy) as f64, self.idle.saturating_sub(before.idle) as f64);
        busy / (busy + idle).max(1.0)
    }
}

/// Sets the timer slack of this thread to a nanosecond. The default lets a sleep take 50 us longer, so that the kernel can
/// merge timers.
pub(crate) fn set_precise_timers() {
    let set = || {
        let thread = fs::read_link("/proc/thread-self").ok()?;
        let id = thread.file_name()?.to_str()?.to_owned();
        fs::write(format!("/proc/{id}/timerslack_ns"), "1").ok()
    };
    if set().is_none() {
        tracing::debug!("timer slack of this thread not set");
    }
}

use serde::{Deserialize, Serialize};

use crate::proc;
use crate::proc::cpu_seconds;

/// Machine and program version of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) version: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        Machine {
            cpu: proc::cpu_model().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "deltarec {}, {} cores of {}", self.version, self.cores, self.cpu)
    }
}

/// Resident memory of this process in bytes, 0 if unknown.
pub(super) fn resident_bytes() -> u64 {
    proc::resident_bytes().unwrap_or(0)
}

/// Largest resident memory of this process so far in bytes, 0 if unknown.
pub(super) fn peak_bytes() -> u64 {
    proc::peak_bytes().unwrap_or(0)
}

/// Sum of processor time over several calls in seconds. The resolution is 10 ms; the rounding errors cancel over many
/// calls.
pub(super) struct CpuStopwatch(pub(super) Option<f64>);

impl Default for CpuStopwatch {
    fn default() -> Self {
        CpuStopwatch(Some(0.0))
    }
}

impl CpuStopwatch {
    pub(super) fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let before = cpu_seconds();
        let result = work();
        let elapsed = cpu_seconds().zip(before).map(|(after, before)| after - before);
        self.0 = self.0.zip(elapsed).map(|(sum, elapsed)| sum + elapsed);
        result
    }
}

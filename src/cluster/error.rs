//! Why a handshake fails, and a throttle that keeps repeated failures from flooding the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a handshake failed. The messages describe the other side of the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages describe the variants")]
pub enum HandshakeError {
    #[error("it did not complete the handshake in time")]
    TimedOut,
    #[error("it closed the connection during the handshake")]
    Closed,
    #[error("it closed the connection without sending anything: a port scan or a health probe")]
    Probe,
    #[error("it does not speak deltarec's protocol")]
    UnknownProtocol,
    #[error("it speaks version {0} of the protocol, this is version {version}", version = super::frames::PROTOCOL)]
    ProtocolVersion(u32),
    #[error("it has another secret")]
    WrongSecret,
    /// The other side closed the connection after it got the proof.
    #[error("it does not accept our proof: check that both have the same secret")]
    ProofRejected,
    #[error("it runs another build of deltarec ({version} there, {here} here): all processes need the same build", here = env!("CARGO_PKG_VERSION"))]
    BuildMismatch {
        /// Its version, which may be the same as here.
        version: String,
    },
    #[error(
        "it runs in {processes} processes with {workers} workers each: --hosts and --workers must be the same in all processes"
    )]
    ClusterSizeMismatch { processes: u32, workers: u32 },
    #[error(
        "it has another configuration: [graph], [levels] and whether there is a state must be the same in all processes"
    )]
    ConfigurationMismatch,
    #[error(
        "it has another identity.key, or one of us has none: give all processes the same key (identity.key or \
         DELTAREC_IDENTITY_KEY)"
    )]
    IdKeyMismatch,
    #[error(
        "it is process {from} and looks for process {to}: check that the order of --hosts is the same in all processes"
    )]
    ProcessMismatch { from: u32, to: u32 },
    #[error("it belongs to another run of the cluster (another epoch)")]
    EpochMismatch,
    #[error("process {0} is linked already: is it started twice?")]
    AlreadyLinked(u32),
    #[error("it does not know the epoch of the run yet")]
    EpochUnknown,
    #[error("it is in a run that has started already: no process can join it")]
    RunStarted,
}

impl HandshakeError {
    /// The code in an [`Answer`](super::Answer). The other side has proven that it knows the secret, so it may learn the reason.
    pub(super) fn code(&self) -> u32 {
        match self {
            HandshakeError::BuildMismatch { .. } => 1,
            HandshakeError::ClusterSizeMismatch { .. } => 2,
            HandshakeError::ConfigurationMismatch => 3,
            HandshakeError::ProcessMismatch { .. } => 4,
            HandshakeError::EpochMismatch => 5,
            HandshakeError::AlreadyLinked(_) => 6,
            HandshakeError::EpochUnknown => 7,
            HandshakeError::IdKeyMismatch => 9,
            _ => 8,
        }
    }

    /// The error for a code that process `to` answered to process `me`. Mismatches that the claims show are found before.
    pub(super) fn from_code(code: u32, me: u32, to: u32) -> Option<Self> {
        match code {
            0 => None,
            4 => Some(HandshakeError::ProcessMismatch { from: me, to }),
            5 => Some(HandshakeError::EpochMismatch),
            6 => Some(HandshakeError::AlreadyLinked(me)),
            7 => Some(HandshakeError::EpochUnknown),
            8 => Some(HandshakeError::RunStarted),
            9 => Some(HandshakeError::IdKeyMismatch),
            _ => Some(HandshakeError::ConfigurationMismatch),
        }
    }

    /// Whether the error is normal while a cluster starts, and needs no warning.
    pub(super) fn is_expected(&self) -> bool {
        *self == HandshakeError::EpochUnknown
    }

    /// The shortest time between two log records of the error. Probes arrive every few seconds as long as a process lives.
    pub(super) fn log_interval(&self) -> Duration {
        if *self == HandshakeError::Probe { Duration::from_secs(3_600) } else { LOG_INTERVAL }
    }
}

/// The shortest time between two log records of one kind.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Most kinds to remember: a peer that causes ever new kinds must not fill the memory.
const MOST_KINDS: usize = 1_000;

/// Limits log records: the first of each kind is logged at once, later ones after an interval, with their count.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<BTreeMap<String, Kind>>);

#[derive(Debug, Default)]
struct Kind {
    logged: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// The number of records of this kind suppressed since the last one. `None`: this one is suppressed too.
    pub(super) fn admit(&self, kind: impl fmt::Display, interval: Duration) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() > MOST_KINDS {
            kinds.clear();
        }
        let Kind { logged, suppressed } = kinds.entry(kind.to_string()).or_default();
        if logged.is_some_and(|logged| logged.elapsed() < interval) {
            *suppressed += 1;
            return None;
        }
        *logged = Some(Instant::now());
        Some(std::mem::take(suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttles_each_kind() {
        let throttle = LogThrottle::default();
        assert_eq!(throttle.admit(HandshakeError::UnknownProtocol, LOG_INTERVAL), Some(0));
        assert_eq!(throttle.admit(HandshakeError::UnknownProtocol, LOG_INTERVAL), None);
        assert_eq!(throttle.admit(HandshakeError::TimedOut, LOG_INTERVAL), Some(0));
        assert_eq!(throttle.admit(HandshakeError::UnknownProtocol, Duration::ZERO), Some(1));
    }
}

//! Why a handshake fails.

use std::time::Duration;

use connectors::LOG_INTERVAL;

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
    #[error("one of both has --insecure-links and the other has not: start all processes with it, or none")]
    ProtectionMismatch,
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
        "it has another configuration: [graph], [levels], [retractions], input.skip and whether there is a state must be the \
         same in all processes"
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

    /// The kind of the error, for [`connectors::LogThrottle`]: nothing that the other side can vary.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            HandshakeError::TimedOut => "timed out",
            HandshakeError::Closed => "closed",
            HandshakeError::Probe => "probe",
            HandshakeError::UnknownProtocol => "unknown protocol",
            HandshakeError::ProtocolVersion(_) => "protocol version",
            HandshakeError::ProtectionMismatch => "protection",
            HandshakeError::WrongSecret => "secret",
            HandshakeError::ProofRejected => "proof",
            HandshakeError::BuildMismatch { .. } => "build",
            HandshakeError::ClusterSizeMismatch { .. } => "cluster size",
            HandshakeError::ConfigurationMismatch => "configuration",
            HandshakeError::ProcessMismatch { .. } => "process",
            HandshakeError::EpochMismatch => "epoch",
            HandshakeError::AlreadyLinked(_) => "already linked",
            HandshakeError::EpochUnknown => "epoch unknown",
            HandshakeError::RunStarted => "run started",
            HandshakeError::IdKeyMismatch => "identity key",
        }
    }

    /// The shortest time between two log records of the error. Probes arrive every few seconds as long as a process lives.
    pub(super) fn log_interval(&self) -> Duration {
        if *self == HandshakeError::Probe { Duration::from_secs(3_600) } else { LOG_INTERVAL }
    }
}

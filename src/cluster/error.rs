//! Why a connection is not taken, and telling so without flooding a log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is wrong with the other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Time ran out.
    #[error("it did not say in time who it is")]
    Silent,
    /// The connection ended.
    #[error("it closed the connection before it had said who it is")]
    Closed,
    /// It came and went.
    #[error("it closed the connection without a word: a scan of ports, or a probe")]
    Mute,
    /// Its first bytes are not ours.
    #[error("it does not speak deltarec's protocol")]
    Stranger,
    /// Another version of the frames.
    #[error("it speaks version {0} of the protocol, this is version {version}", version = super::frames::PROTOCOL)]
    Protocol(u32),
    /// Its seal is wrong.
    #[error("it has another secret")]
    Secret,
    /// It closed the connection when it had seen our proof.
    #[error("it does not accept our proof: do both have the same secret?")]
    Distrusted,
    /// Another build of the program.
    #[error("it runs another build of deltarec ({version} there, {here} here): all processes need the very same", here = env!("CARGO_PKG_VERSION"))]
    Program {
        /// The version it says it has; may be the same.
        version: String,
    },
    /// Another cluster by its size.
    #[error(
        "it runs in {processes} processes with {workers} workers each: --hosts and --workers must be the same everywhere"
    )]
    Numbers {
        /// Processes it knows of.
        processes: u32,
        /// Workers it has.
        workers: u32,
    },
    /// Another configuration.
    #[error("it has another configuration: [graph], [levels] and whether there is a state must be the same everywhere")]
    Configuration,
    /// It is not who it should be, or takes us for somebody else.
    #[error("it is process {from} and looks for process {to}: is the order of --hosts the same everywhere?")]
    Index {
        /// Its number.
        from: u32,
        /// Whom it looks for.
        to: u32,
    },
    /// It is of another run of the cluster.
    #[error("it is of another run of the cluster (another epoch)")]
    Epoch,
    /// There is a link to that process already, and it is alive.
    #[error("process {0} is linked already: is it started twice?")]
    Taken(u32),
    /// The run is not known yet.
    #[error("it does not know the run yet")]
    NotYet,
    /// The run has begun.
    #[error("it is in a run that has begun already: nobody can join that")]
    Begun,
}

impl HandshakeError {
    /// What stands for it in an answer: what the other side may know, as it has the secret.
    pub(super) fn code(&self) -> u32 {
        match self {
            HandshakeError::Program { .. } => 1,
            HandshakeError::Numbers { .. } => 2,
            HandshakeError::Configuration => 3,
            HandshakeError::Index { .. } => 4,
            HandshakeError::Epoch => 5,
            HandshakeError::Taken(_) => 6,
            HandshakeError::NotYet => 7,
            _ => 8,
        }
    }

    /// What a code in an answer to process `me` means, where the claims beside it do not tell more.
    pub(super) fn told(code: u32, me: u32, to: u32) -> Option<Self> {
        match code {
            0 => None,
            4 => Some(HandshakeError::Index { from: me, to }),
            5 => Some(HandshakeError::Epoch),
            6 => Some(HandshakeError::Taken(me)),
            7 => Some(HandshakeError::NotYet),
            8 => Some(HandshakeError::Begun),
            _ => Some(HandshakeError::Configuration),
        }
    }

    /// Whether it is part of how clusters come together, and nobody need be told.
    pub(super) fn is_usual(&self) -> bool {
        *self == HandshakeError::NotYet
    }

    /// How often it is worth a line. Probes come every few seconds for as long as a process lives.
    pub(super) fn said_every(&self) -> Duration {
        if *self == HandshakeError::Mute { Duration::from_secs(3_600) } else { SAID_EVERY }
    }
}

/// What would be said over and over is said at once, and then no more often than this.
pub(super) const SAID_EVERY: Duration = Duration::from_secs(10);

/// Says the first of each kind at once, and the rest now and then with their number.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<BTreeMap<String, (Option<Instant>, u64)>>);

impl LogThrottle {
    /// What to add to a message of this kind; `None` if it is not to be said now.
    pub(super) fn may_say(&self, kind: impl fmt::Display, every: Duration) -> Option<String> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Kinds are few; whoever could make up any number of them fills no memory.
        if said.len() > 1_000 {
            said.clear();
        }
        let (last, held_back) = said.entry(kind.to_string()).or_default();
        if last.is_some_and(|last| last.elapsed() < every) {
            *held_back += 1;
            return None;
        }
        *last = Some(Instant::now());
        match std::mem::take(held_back) {
            0 => Some(String::new()),
            more => Some(format!(" (and {more} times more)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_said_once() {
        let sayings = LogThrottle::default();
        assert_eq!(sayings.may_say(HandshakeError::Stranger, SAID_EVERY).as_deref(), Some(""));
        assert_eq!(sayings.may_say(HandshakeError::Stranger, SAID_EVERY), None);
        assert_eq!(sayings.may_say(HandshakeError::Silent, SAID_EVERY).as_deref(), Some(""));
    }
}

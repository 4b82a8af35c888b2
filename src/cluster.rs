//! Several processes that compute together: who they are, how they find and trust each other, and what becomes of the
//! others when one is lost.
//!
//! Timely's own network code takes whatever connects for a member of the cluster. So nothing is left to it before a
//! connection has proven what it is: each link between two processes is made here, by frames of a fixed size, a shared
//! secret and a clock that runs out (`handshake.rs`), and only when all processes have all of their links
//! ([`Member::gather`]) are the sockets given to timely.
//!
//! A process takes connections from those with higher numbers, and connects to those with lower ones. Process 0 draws the
//! **epoch**, by which the processes of one run know each other: one that was started anew cannot slip into a run that
//! is about to end.

mod acceptor;
mod error;
mod frames;
mod gather;
mod handshake;
mod hosts;
mod identity;
mod links;
mod loss;
mod secret;

pub use self::error::HandshakeError;
pub use self::frames::{Answer, Claims, Confirm, Epoch, Greeting, PROTOCOL, Proof};
pub use self::gather::{ClusterError, Member};
pub use self::handshake::{accept, connect};
pub use self::hosts::{Hosts, HostsError, process_number};
pub use self::identity::Identity;
pub use self::links::{Links, Orders};
pub use self::loss::Loss;
pub use self::secret::{Secret, SecretError};
use crate::failure::Failure;

impl From<HostsError> for Failure {
    fn from(error: HostsError) -> Self {
        Failure::Usage(error.into())
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Failure::Usage(error.into())
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Public { .. } => Failure::Usage(error.into()),
            ClusterError::Listen { .. } => Failure::Running(error.into()),
        }
    }
}

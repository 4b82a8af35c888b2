//! Several processes that compute one graph: their addresses, how they find and authenticate each other, and how the loss of
//! one ends the others.
//!
//! Timely's network code accepts any connection as a member of the cluster, and trusts every byte. So this module makes each
//! link between two processes itself, with frames of fixed sizes, a shared secret and a deadline (`handshake.rs`). Timely gets
//! the links only when all processes have all of theirs ([`Member::gather`]), as streams that encrypt and authenticate
//! ([`LinkStream`]).
//!
//! A process accepts connections from processes with higher numbers and connects to those with lower ones. Process 0 draws
//! the **epoch**, which identifies a run: a process that was restarted cannot join a run that is about to end.

mod acceptor;
mod channel;
mod error;
mod frames;
mod gather;
mod handshake;
mod hosts;
mod identity;
mod links;
mod loss;
mod secret;
mod stream;

pub use self::channel::{Channel, Damaged, Header, Opener, Sealer};
pub use self::error::HandshakeError;
pub use self::frames::{Claims, Epoch, Protection};
pub use self::gather::Member;
pub use self::handshake::{accept, connect};
pub use self::hosts::{Hosts, process_number};
pub use self::identity::Identity;
pub use self::links::{GraphOptions, Links};
pub use self::loss::{Loss, LossReporter};
pub use self::secret::Secret;
pub use self::stream::LinkStream;

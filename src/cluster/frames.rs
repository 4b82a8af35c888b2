//! The frames that two processes exchange before timely gets their link. All have fixed sizes, so no peer can lie about a
//! length.
//!
//! ```text
//! higher process                      lower process
//! Greeting (nonce)  ----------------->
//!                   <-----------------  Greeting (nonce)
//! Noise: e, Claims  ----------------->                      encrypted with the secret alone
//!                   <-----------------  Noise: e, ee, Answer
//! CONFIRM  -------------------------->                      the first record of the channel: the link is made
//! READY  ---------------------------->                      to process 0: all links are made
//!                   <-----------------  Go (graph options)  from process 0, to all
//! ```
//!
//! CONFIRM, READY and Go are [records](super::channel) of the link, and so is everything after them.

use dataflows::config::Outputs;
use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::links::GraphOptions;

/// Version of the frames and their order.
pub(super) const PROTOCOL: u32 = 2;

/// The first bytes of a greeting.
pub(super) const MAGIC: [u8; 8] = *b"deltarec";

/// Identifies a run of the cluster. Process 0 draws it when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct Epoch(pub [u8; 16]);

impl Epoch {
    /// Zeros: the sender requests the epoch.
    pub const UNKNOWN: Epoch = Epoch([0; 16]);
}

/// The first frame in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Greeting {
    magic: [u8; 8],
    /// Version of the sender.
    pub(super) protocol: U32,
    /// [`Protection`] of the links of the sender.
    protection: U32,
    /// Random bytes drawn for this link: a recorded handshake cannot be replayed.
    nonce: [u8; 32],
}

impl Greeting {
    pub(super) fn new(protection: Protection, nonce: [u8; 32]) -> Self {
        Greeting { magic: MAGIC, protocol: PROTOCOL.into(), protection: protection.code().into(), nonce }
    }

    /// Whether both ends want the same protection of their link.
    pub(super) fn agrees_with(&self, other: &Greeting) -> bool {
        self.protection == other.protection
    }
}

/// Protection of the links after the handshake, which is always encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Encrypted and authenticated.
    #[default]
    Encrypted,
    /// None: the links go through a tunnel.
    Plain,
}

impl Protection {
    fn code(self) -> u32 {
        match self {
            Protection::Encrypted => 1,
            Protection::Plain => 2,
        }
    }
}

/// What a process claims to be, and the process it wants to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Claims {
    pub(super) from: U32,
    pub(super) to: U32,
    pub(super) processes: U32,
    /// Workers of each process.
    pub(super) workers: U32,
    pub(super) epoch: Epoch,
    /// Version of the program, padded with zeros. For messages only.
    pub(super) version: [u8; 16],
    /// Hash of the program.
    pub(super) program: [u8; 32],
    /// Hash of the configuration that all processes must agree on.
    pub(super) configuration: [u8; 24],
    /// Fingerprint of the identity key; zeros: there is none.
    pub(super) id_key: [u8; 8],
}

/// From the accepting process: whether it makes the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Answer {
    /// 0: accepted. Otherwise the code of the `HandshakeError`.
    pub(super) verdict: U32,
    pub(super) claims: Claims,
}

/// From the connecting process: it accepts the answer.
pub(super) const CONFIRM: [u8; 8] = *b"confirm.";

/// To process 0, once all links of the sender are made.
pub(super) const READY: [u8; 8] = *b"ready...";

/// From process 0, once all processes are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Go(GraphOptions);

impl Go {
    pub(super) fn new(options: GraphOptions) -> Self {
        Go(options)
    }

    /// The message: its last byte has one bit for each of the [`GraphOptions`].
    pub(super) fn bytes(self) -> [u8; 8] {
        let GraphOptions { resumes, catalogue, controls, outputs } = self.0;
        let bits = [resumes, outputs.similar_items, outputs.similar_users, catalogue, controls];
        let options = (0..).zip(bits).fold(0, |options, (at, bit)| options | u8::from(bit) << at);
        [b'g', b'o', b'.', b'.', b'.', b'.', b'.', options]
    }

    /// The options. `None`: the message is invalid.
    pub(super) fn options(bytes: [u8; 8]) -> Option<GraphOptions> {
        let [resumes, similar_items, similar_users, catalogue, controls] =
            [0, 1, 2, 3, 4].map(|at| bytes[7] >> at & 1 == 1);
        let outputs = Outputs { similar_items, similar_users };
        let options = GraphOptions { resumes, catalogue, controls, outputs };
        (bytes == Go::new(options).bytes()).then_some(options)
    }
}

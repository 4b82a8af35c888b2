//! The frames that two processes exchange before timely gets their link. All have fixed sizes, so no peer can lie about a
//! length.
//!
//! ```text
//! higher process                      lower process
//! Greeting (nonce)  ----------------->
//!                   <-----------------  Greeting (nonce)
//! Proof (claims, mac)  -------------->                      mac over both nonces and the claims
//!                   <-----------------  Answer (verdict, claims, mac)
//! Confirm (mac)  -------------------->                      the link is made
//! ready  ---------------------------->                      to process 0: all links are made
//!                   <-----------------  go (graph options)  from process 0, to all
//! ```

use dataflows::config::Outputs;
use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::links::GraphOptions;

/// Version of the frames and their order.
pub(super) const PROTOCOL: u32 = 1;

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
    /// Random bytes drawn for this link: a recorded handshake cannot be replayed.
    pub(super) nonce: [u8; 32],
}

impl Greeting {
    pub(super) fn new(nonce: [u8; 32]) -> Self {
        Greeting { magic: MAGIC, protocol: PROTOCOL.into(), nonce }
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

/// From the connecting process: it knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Proof {
    pub(super) claims: Claims,
    /// Keyed hash of both nonces and the claims.
    pub(super) mac: [u8; 32],
}

/// From the accepting process: it knows the secret too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Answer {
    /// 0: accepted. Otherwise the code of the `HandshakeError`.
    pub(super) verdict: U32,
    pub(super) claims: Claims,
    /// Keyed hash of both nonces, the claims of the other process, and this frame.
    pub(super) mac: [u8; 32],
}

/// From the connecting process: it accepts the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Confirm {
    /// Keyed hash of both nonces and both claims.
    pub(super) mac: [u8; 32],
}

/// To process 0, once all links of the sender are made.
pub(super) const READY: [u8; 8] = *b"ready...";

/// From process 0, once all processes are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Go {
    go: [u8; 7],
    /// One bit for each of the [`GraphOptions`].
    options: u8,
}

impl Go {
    pub(super) fn new(options: GraphOptions) -> Self {
        let GraphOptions { resumes, outputs } = options;
        let bits = [resumes, outputs.similar_items, outputs.similar_users];
        let options = (0..).zip(bits).fold(0, |options, (at, bit)| options | u8::from(bit) << at);
        Go { go: *b"go.....", options }
    }

    /// The options. `None`: the frame is invalid.
    pub(super) fn options(self) -> Option<GraphOptions> {
        let [resumes, similar_items, similar_users] = [0, 1, 2].map(|at| self.options >> at & 1 == 1);
        let options = GraphOptions { resumes, outputs: Outputs { similar_items, similar_users } };
        (self == Go::new(options)).then_some(options)
    }
}

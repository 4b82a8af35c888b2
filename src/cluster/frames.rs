//! What goes over a link before timely has it: frames of fixed sizes, without a length that anybody could lie about.
//!
//! ```text
//! higher process                      lower process
//! Greeting (nonce)  ----------------->
//!                   <-----------------  Greeting (nonce)
//! Proof (claims, seal)  ------------->                      sealed over both nonces
//!                   <-----------------  Answer (verdict, claims, seal)
//! Confirm (seal)  ------------------->                      the link is made
//! ready  ---------------------------->                      to process 0: all links are made
//!                   <-----------------  go (orders)         from process 0, to all
//! ```

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::links::Orders;

/// The version of the frames and of who says what when.
pub const PROTOCOL: u32 = 1;

const MAGIC: [u8; 8] = *b"deltarec";

/// A run of the cluster: drawn by process 0 when it starts. Zeros ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct Epoch(pub [u8; 16]);

impl Epoch {
    /// Asks for the epoch.
    pub const ASKED: Epoch = Epoch([0; 16]);
}

/// The first frame in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Greeting {
    magic: [u8; 8],
    protocol: U32,
    /// Drawn for this link alone.
    pub nonce: [u8; 32],
}

impl Greeting {
    /// Of this protocol.
    pub fn new(nonce: [u8; 32]) -> Self {
        Greeting { magic: MAGIC, protocol: PROTOCOL.into(), nonce }
    }

    /// Whether the first bytes are those of a greeting.
    pub(super) fn is_begun_by(bytes: [u8; 8]) -> bool {
        bytes == MAGIC
    }

    /// The version that is spoken.
    pub fn protocol(&self) -> u32 {
        self.protocol.get()
    }
}

/// What a process says it is, and whom it wants to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Claims {
    pub(super) from: U32,
    pub(super) to: U32,
    pub(super) processes: U32,
    /// Of each process.
    pub(super) workers: U32,
    pub(super) epoch: Epoch,
    /// The program's version, filled up with zeros; for messages.
    pub(super) version: [u8; 16],
    /// A hash of the program.
    pub(super) program: [u8; 32],
    /// A hash of the configuration that matters.
    pub(super) configuration: [u8; 32],
}

/// From the one that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Proof {
    /// What it says it is.
    pub claims: Claims,
    /// Over both nonces and the claims.
    pub seal: [u8; 32],
}

/// From the one that was connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Answer {
    /// 0 is welcome; else why not.
    pub(super) verdict: U32,
    /// What it says it is.
    pub(super) claims: Claims,
    /// Over both nonces, the other's claims and all of this.
    pub(super) seal: [u8; 32],
}

/// From the one that connects: it trusts the other, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Confirm {
    /// Over both nonces and both claims.
    pub(super) seal: [u8; 32],
}

/// To process 0, when all links are made.
pub(super) const READY: [u8; 8] = *b"ready...";

/// From process 0, when all are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Go {
    go: [u8; 7],
    /// One bit for each of the [`Orders`].
    orders: u8,
}

impl Go {
    pub(super) fn new(orders: Orders) -> Self {
        let Orders { resumes, similar_items, similar_users } = orders;
        let bits = [resumes, similar_items, similar_users];
        let orders = (0..).zip(bits).fold(0, |orders, (at, bit)| orders | u8::from(bit) << at);
        Go { go: *b"go.....", orders }
    }

    /// What was ordered, if this is sound.
    pub(super) fn orders(self) -> Option<Orders> {
        let [resumes, similar_items, similar_users] = [0, 1, 2].map(|at| self.orders >> at & 1 == 1);
        let orders = Orders { resumes, similar_items, similar_users };
        (self == Go::new(orders)).then_some(orders)
    }
}

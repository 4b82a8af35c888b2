//! The records of a link: everything that two processes send each other after the handshake.
//!
//! ```text
//! length (2 bytes) tag (16 bytes) | payload (length bytes) tag (16 bytes)
//! ```
//!
//! Both parts are encrypted with the next number of their direction, so a record that is altered, repeated, left out or out
//! of order fails at its first part. The length has a tag of its own: otherwise a flipped bit in it would make the receiver
//! wait for bytes that never come. Two lengths have no payload: [`IDLE`] and [`END`]. With plain links there are no tags.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use snow::StatelessTransportState;

/// Most bytes of payload in a record. Timely writes 64 KiB at a time.
pub(super) const MAX_PAYLOAD: usize = 1 << 15;

/// A record that says only that the sender lives.
const IDLE: u16 = 0;

/// The last record of a direction: whatever ends a stream without it has cut it off.
const END: u16 = u16::MAX;

const TAG: usize = 16;

/// Number of records after which a direction gets a new key. AES-GCM is not meant for more than some 2^36 blocks under one
/// key; this is 2^35.
const REKEY_EVERY: u64 = 1 << 24;

/// Length on the wire of an encrypted record.
pub(super) const fn wire_length(payload: usize) -> usize {
    2 + TAG + payload + TAG
}

/// Keys of a link.
enum Keys {
    /// Keys of the handshake, one for each direction. They are written only to replace one.
    Noise(Box<RwLock<StatelessTransportState>>),
    /// No encryption, for links that go through a tunnel.
    Plain,
}

impl Keys {
    fn tag(&self) -> usize {
        match self {
            Keys::Noise(_) => TAG,
            Keys::Plain => 0,
        }
    }
}

/// What arrived is not the next record of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what arrives from it was altered, repeated or left out on the way")]
pub struct Damaged;

/// Writes the records of one direction.
pub struct Sealer {
    keys: Arc<Keys>,
    number: u64,
}

/// Reads the records of the other direction.
pub struct Opener {
    keys: Arc<Keys>,
    number: u64,
}

/// The first part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A payload follows, with this length on the wire.
    Payload(usize),
    /// The sender lives.
    Idle,
    /// Nothing follows.
    End,
}

/// Both directions of a link, at one of its ends.
pub struct Channel {
    /// What this end sends.
    pub sealer: Sealer,
    /// What this end receives.
    pub opener: Opener,
}

impl Channel {
    pub(super) fn new(keys: StatelessTransportState) -> Self {
        Self::with(Keys::Noise(Box::new(RwLock::new(keys))))
    }

    /// A channel without encryption.
    pub(super) fn plain() -> Self {
        Self::with(Keys::Plain)
    }

    /// One record with a few bytes.
    pub(super) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        self.sealer.payload(bytes, &mut wire);
        wire
    }

    /// The payload of one record, whose length on the wire is [`wire_length`] of `N`.
    pub(super) fn open<const N: usize>(&mut self, wire: &[u8]) -> Result<[u8; N], Damaged> {
        let (header, payload) = wire.split_at_checked(self.opener.header_length()).ok_or(Damaged)?;
        if self.opener.header(header)? != Header::Payload(payload.len()) {
            return Err(Damaged);
        }
        let mut out = vec![0; payload.len()];
        let length = self.opener.payload(payload, &mut out)?;
        out[..length].try_into().map_err(|_| Damaged)
    }

    fn with(keys: Keys) -> Self {
        let keys = Arc::new(keys);
        Channel { sealer: Sealer { keys: Arc::clone(&keys), number: 0 }, opener: Opener { keys, number: 0 } }
    }
}

impl Sealer {
    /// Appends bytes to `wire` as records.
    pub fn payload(&mut self, bytes: &[u8], wire: &mut Vec<u8>) {
        for payload in bytes.chunks(MAX_PAYLOAD) {
            self.part(&(payload.len() as u16).to_be_bytes(), wire);
            self.part(payload, wire);
        }
    }

    /// Appends the record that says that this end lives.
    pub fn idle(&mut self, wire: &mut Vec<u8>) {
        self.part(&IDLE.to_be_bytes(), wire);
    }

    /// Appends the last record.
    pub fn end(&mut self, wire: &mut Vec<u8>) {
        self.part(&END.to_be_bytes(), wire);
    }

    fn part(&mut self, bytes: &[u8], wire: &mut Vec<u8>) {
        match &*self.keys {
            Keys::Plain => wire.extend_from_slice(bytes),
            Keys::Noise(keys) => {
                let start = wire.len();
                wire.resize(start + bytes.len() + TAG, 0);
                let sealed = keys.read().unwrap_or_else(PoisonError::into_inner).write_message(
                    self.number,
                    bytes,
                    &mut wire[start..],
                );
                sealed.expect("the buffer fits, and a link never sends 2^64 records");
                self.number += 1;
                if self.number.is_multiple_of(REKEY_EVERY) {
                    keys.write().unwrap_or_else(PoisonError::into_inner).rekey_outgoing();
                }
            }
        }
    }
}

impl Opener {
    /// Length of a header on the wire.
    pub fn header_length(&self) -> usize {
        2 + self.keys.tag()
    }

    /// Opens a header, which has [`Opener::header_length`] bytes.
    pub fn header(&mut self, wire: &[u8]) -> Result<Header, Damaged> {
        let mut length = [0; 2 + TAG];
        self.part(wire, &mut length)?;
        match u16::from_be_bytes([length[0], length[1]]) {
            IDLE => Ok(Header::Idle),
            END => Ok(Header::End),
            length if usize::from(length) <= MAX_PAYLOAD => Ok(Header::Payload(usize::from(length) + self.keys.tag())),
            _ => Err(Damaged),
        }
    }

    /// Opens a payload of the length that its header has. `out` must be as long as `wire`. Returns the number of bytes.
    pub fn payload(&mut self, wire: &[u8], out: &mut [u8]) -> Result<usize, Damaged> {
        self.part(wire, out)
    }

    fn part(&mut self, wire: &[u8], out: &mut [u8]) -> Result<usize, Damaged> {
        match &*self.keys {
            Keys::Plain => {
                out[..wire.len()].copy_from_slice(wire);
                Ok(wire.len())
            }
            Keys::Noise(keys) => {
                let opened = keys.read().unwrap_or_else(PoisonError::into_inner).read_message(self.number, wire, out);
                let length = opened.map_err(|_| Damaged)?;
                self.number += 1;
                if self.number.is_multiple_of(REKEY_EVERY) {
                    keys.write().unwrap_or_else(PoisonError::into_inner).rekey_incoming();
                }
                Ok(length)
            }
        }
    }
}

/// Hides the keys.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use snow::Builder;

    use super::*;

    /// Both ends of a link.
    pub(in crate::cluster) fn pair() -> [Channel; 2] {
        let builder = || Builder::new("Noise_NNpsk0_25519_AESGCM_SHA256".parse().unwrap()).psk(0, &[7; 32]).unwrap();
        let (mut a, mut b) = (builder().build_initiator().unwrap(), builder().build_responder().unwrap());
        let (mut message, mut payload) = ([0; 128], [0; 128]);
        let length = a.write_message(&[], &mut message).unwrap();
        b.read_message(&message[..length], &mut payload).unwrap();
        let length = b.write_message(&[], &mut message).unwrap();
        a.read_message(&message[..length], &mut payload).unwrap();
        [a, b].map(|end| Channel::new(end.into_stateless_transport_mode().unwrap()))
    }

    #[test]
    fn keys_change_in_step() {
        let [mut a, mut b] = pair();
        (a.sealer.number, b.opener.number) = (REKEY_EVERY - 3, REKEY_EVERY - 3);
        let before = a.seal(b"before..");
        assert_eq!(b.open(&before), Ok(*b"before.."));
        for _ in 0..4 {
            let wire = a.seal(b"message.");
            assert_eq!(b.open(&wire), Ok(*b"message."));
        }
        // The other direction has its own key.
        let wire = b.seal(b"answer..");
        assert_eq!(a.open(&wire), Ok(*b"answer.."));
        // One end alone changes its key.
        a.sealer.number = 2 * REKEY_EVERY - 2;
        b.opener.number = 2 * REKEY_EVERY;
        a.seal(b"message.");
        let keys = Arc::clone(&b.opener.keys);
        let Keys::Noise(keys) = &*keys else { panic!("the link is encrypted") };
        let wire = a.seal(b"message.");
        assert_eq!(b.open::<8>(&wire), Err(Damaged));
        keys.write().unwrap().rekey_incoming();
        assert_eq!(b.open(&wire), Ok(*b"message."));
    }

    proptest! {
        /// Arbitrary bytes are no record, and no length of them makes the receiver panic.
        #[test]
        fn fuzz_records_of_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let [mut a, _] = pair();
            prop_assert_eq!(a.open::<8>(&bytes), Err(Damaged));
            if bytes.len() >= 18 {
                prop_assert_eq!(a.opener.header(&bytes[..18]), Err(Damaged));
            }
            let mut plain = Channel::plain();
            if let [a, b, ..] = bytes[..] {
                let length = usize::from(u16::from_be_bytes([a, b]));
                prop_assert_eq!(plain.opener.header(&[a, b]).is_ok(), length <= MAX_PAYLOAD || length == 0xffff);
            }
        }
    }
}

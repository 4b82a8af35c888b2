//! The handshake between two processes of a cluster, byte by byte: only processes of the cluster get a link.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use deltarec::cluster::{Epoch, HandshakeError, Identity, Protection, Secret, accept, connect};
use proptest::prelude::*;
use schema::IdKey;

const EPOCH: Epoch = Epoch([5; 16]);

/// The identity of one of three processes.
fn identity(process: u32) -> Identity {
    Identity {
        secret: Secret::new(b"a secret that these share").unwrap(),
        protection: Protection::Encrypted,
        process,
        processes: 3,
        workers: 2,
        program: [1; 32],
        configuration: [2; 24],
        id_key: None,
    }
}

/// Bytes that the connecting side sends: greeting, claims, confirmation.
const FROM_CONNECTING: usize = 48 + 160 + 42;

/// Bytes that the accepting side sends: greeting, answer.
const FROM_ACCEPTING: usize = 48 + 164;

/// Results of the connecting and of the accepting side.
type Outcome = (Result<Epoch, HandshakeError>, Result<(u32, Epoch), HandshakeError>);

/// Lets `connecting` connect to `accepting`, which it takes for process `to`. `tamper` gets the number of a direction (0: from
/// the connecting side) and all bytes sent in it so far, and may change those not yet passed on.
fn handshake(
    connecting: &Identity,
    accepting: &Identity,
    to: u32,
    epoch: Epoch,
    tamper: impl Fn(usize, &mut [u8]) + Send + Copy + 'static,
) -> Outcome {
    let (mut a, a_end) = UnixStream::pair().unwrap();
    let (b_end, mut b) = UnixStream::pair().unwrap();
    for socket in [&a, &b] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    for (direction, (from, into)) in [(&a_end, &b_end), (&b_end, &a_end)].into_iter().enumerate() {
        let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
        thread::spawn(move || {
            let (mut buffer, mut passed) = ([0; 512], Vec::new());
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let before = passed.len();
                passed.extend_from_slice(&buffer[..length]);
                let mut all = passed.clone();
                tamper(direction, &mut all);
                if into.write_all(&all[before..]).is_err() {
                    break;
                }
            }
            // The end of one side is passed on to the other.
            into.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        });
    }
    drop((a_end, b_end));
    let accepting = accepting.clone();
    let accepted = thread::spawn(move || {
        let accepted = accept(&mut b, &accepting, |_| Ok(EPOCH));
        drop(b);
        accepted
    });
    let connected = connect(&mut a, connecting, to, epoch);
    drop(a);
    let accepted = accepted.join().unwrap();
    (connected.map(|(epoch, _)| epoch), accepted.map(|(process, epoch, _)| (process, epoch)))
}

fn untampered(connecting: &Identity, accepting: &Identity) -> Outcome {
    handshake(connecting, accepting, 0, Epoch::UNKNOWN, |_, _| {})
}

#[test]
fn links_members_and_tells_them_the_epoch() {
    assert_eq!(untampered(&identity(2), &identity(0)), (Ok(EPOCH), Ok((2, EPOCH))));
    assert_eq!(handshake(&identity(2), &identity(1), 1, EPOCH, |_, _| {}), (Ok(EPOCH), Ok((2, EPOCH))));
}

#[test]
fn names_each_mismatch_on_both_sides() {
    let me = identity(0);
    let other = Identity { program: [9; 32], ..identity(1) };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let error = HandshakeError::BuildMismatch { version };
    assert_eq!(untampered(&other, &me), (Err(error.clone()), Err(error)));

    let other = Identity { configuration: [9; 24], ..identity(1) };
    assert_eq!(
        untampered(&other, &me),
        (Err(HandshakeError::ConfigurationMismatch), Err(HandshakeError::ConfigurationMismatch))
    );

    for id_key in [IdKey::new(b"0123456789abcdef").unwrap(), IdKey::new(b"another 01234567").unwrap()] {
        let other = Identity { id_key: id_key.fingerprint(), configuration: [9; 24], ..identity(1) };
        let me = Identity { id_key: IdKey::new(b"0123456789abcdef").unwrap().fingerprint(), ..identity(0) };
        let mismatch = if other.id_key == me.id_key {
            HandshakeError::ConfigurationMismatch
        } else {
            HandshakeError::IdKeyMismatch
        };
        assert_eq!(untampered(&other, &me), (Err(mismatch.clone()), Err(mismatch)));
    }
    let other = Identity { id_key: IdKey::new(b"0123456789abcdef").unwrap().fingerprint(), ..identity(1) };
    assert_eq!(
        untampered(&other, &me),
        (Err(HandshakeError::IdKeyMismatch), Err(HandshakeError::IdKeyMismatch)),
        "a key against none"
    );

    let other = Identity { workers: 3, ..identity(1) };
    let numbers = |workers| Err(HandshakeError::ClusterSizeMismatch { processes: 3, workers });
    let (connected, accepted) = untampered(&other, &me);
    assert_eq!((connected, accepted), (numbers(2).map(|()| EPOCH), numbers(3).map(|()| (1, EPOCH))));

    let other = Identity { secret: Secret::new(b"a secret of others").unwrap(), ..identity(1) };
    assert_eq!(untampered(&other, &me), (Err(HandshakeError::ProofRejected), Err(HandshakeError::WrongSecret)));

    let other = Identity { protection: Protection::Plain, ..identity(1) };
    assert_eq!(
        untampered(&other, &me),
        (Err(HandshakeError::ProtectionMismatch), Err(HandshakeError::ProtectionMismatch))
    );

    // The address belongs to another process than the list of hosts says.
    let (connected, accepted) = handshake(&identity(2), &identity(1), 0, Epoch::UNKNOWN, |_, _| {});
    assert!(matches!(
        (connected, accepted),
        (Err(HandshakeError::ProcessMismatch { .. }), Err(HandshakeError::ProcessMismatch { from: 2, to: 0 }))
    ));
    // The address is that of the connecting process itself.
    let (connected, accepted) = handshake(&identity(1), &identity(1), 1, Epoch::UNKNOWN, |_, _| {});
    assert!(matches!(
        (connected, accepted),
        (Err(HandshakeError::ProcessMismatch { .. }), Err(HandshakeError::ProcessMismatch { .. }))
    ));

    // The lower process is in another run than process 0.
    let (connected, accepted) = handshake(&identity(2), &identity(1), 1, Epoch([6; 16]), |_, _| {});
    assert_eq!(connected, Err(HandshakeError::EpochMismatch));
    assert!(accepted.is_err(), "the connecting side does not confirm");
}

/// The nonce of the accepting side makes a recorded handshake invalid.
#[test]
fn rejects_a_replayed_handshake() {
    let recorded: &'static std::sync::Mutex<Vec<u8>> = Box::leak(Box::default());
    let (connected, _) = handshake(&identity(1), &identity(0), 0, Epoch::UNKNOWN, |direction, all| {
        if direction == 0 {
            *recorded.lock().unwrap() = all.to_vec();
        }
    });
    assert_eq!(connected, Ok(EPOCH));
    let (mut a, mut b) = UnixStream::pair().unwrap();
    let bytes = recorded.lock().unwrap().clone();
    assert_eq!(bytes.len(), FROM_CONNECTING);
    a.write_all(&bytes).unwrap();
    let accepted = accept(&mut b, &identity(0), |_| panic!("its claims must not be read"));
    assert_eq!(accepted.err(), Some(HandshakeError::WrongSecret));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The receiver of a frame notices a flipped bit in it.
    #[test]
    fn fuzz_handshake_with_a_flipped_bit(direction in 0..2_usize, at in 0..FROM_CONNECTING, bit in 0..8_u8) {
        let at = if direction == 0 { at } else { at % FROM_ACCEPTING };
        let (connected, accepted) = handshake(&identity(1), &identity(0), 0, Epoch::UNKNOWN, move |way, all| {
            if way == direction && let Some(byte) = all.get_mut(at) {
                *byte ^= 1 << bit;
            }
        });
        prop_assert!(accepted.is_err(), "{accepted:?}");
        if direction == 1 {
            prop_assert!(connected.is_err(), "{connected:?}");
        }
    }

    #[test]
    fn fuzz_handshake_with_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), greets in any::<bool>()) {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        if greets {
            a.write_all(&[b"deltarec".as_slice(), &2_u32.to_be_bytes()].concat()).unwrap();
        }
        a.write_all(&bytes).unwrap();
        a.shutdown(std::net::Shutdown::Write).unwrap();
        let accepted = accept(&mut b, &identity(0), |_| panic!("its claims must not be read"));
        prop_assert!(accepted.is_err());
        let (mut a, mut b) = UnixStream::pair().unwrap();
        if greets {
            a.write_all(&[b"deltarec".as_slice(), &2_u32.to_be_bytes()].concat()).unwrap();
        }
        a.write_all(&bytes).unwrap();
        a.shutdown(std::net::Shutdown::Write).unwrap();
        prop_assert!(connect(&mut b, &identity(1), 0, Epoch::UNKNOWN).is_err());
    }
}

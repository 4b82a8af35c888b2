//! The handshake between two processes of a cluster, byte by byte: who is of the cluster gets a link, and nobody else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use deltarec::cluster::{Epoch, HandshakeError, Identity, Secret, accept, connect};
use proptest::prelude::*;

const EPOCH: Epoch = Epoch([5; 16]);

/// Process `process` of three.
fn identity(process: u32) -> Identity {
    Identity {
        secret: Secret::new(b"a secret that these share").unwrap(),
        process,
        processes: 3,
        workers: 2,
        program: [1; 32],
        configuration: [2; 32],
    }
}

/// What both sides come to.
type Outcome = (Result<Epoch, HandshakeError>, Result<(u32, Epoch), HandshakeError>);

/// Lets `connecting` connect to `accepting`, whose number it takes for `to`, through a wire on which each direction passes
/// `spoil` with its number and all that goes over it.
fn shake(
    connecting: &Identity,
    accepting: &Identity,
    to: u32,
    epoch: Epoch,
    spoil: impl Fn(usize, &mut [u8]) + Send + Copy + 'static,
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
                spoil(direction, &mut all);
                if into.write_all(&all[before..]).is_err() {
                    break;
                }
            }
            // Whoever is gone on one side is gone on the other.
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
    (connected, accepted.join().unwrap())
}

fn shake_well(connecting: &Identity, accepting: &Identity) -> Outcome {
    shake(connecting, accepting, 0, Epoch::ASKED, |_, _| {})
}

#[test]
fn members_get_a_link_and_the_epoch() {
    assert_eq!(shake_well(&identity(2), &identity(0)), (Ok(EPOCH), Ok((2, EPOCH))));
    assert_eq!(shake(&identity(2), &identity(1), 1, EPOCH, |_, _| {}), (Ok(EPOCH), Ok((2, EPOCH))));
}

#[test]
fn each_difference_is_named_on_both_sides() {
    let me = identity(0);
    let other = Identity { program: [9; 32], ..identity(1) };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let refusal = HandshakeError::Program { version };
    assert_eq!(shake_well(&other, &me), (Err(refusal.clone()), Err(refusal)));

    let other = Identity { configuration: [9; 32], ..identity(1) };
    assert_eq!(shake_well(&other, &me), (Err(HandshakeError::Configuration), Err(HandshakeError::Configuration)));

    let other = Identity { workers: 3, ..identity(1) };
    let numbers = |workers| Err(HandshakeError::Numbers { processes: 3, workers });
    let (connected, accepted) = shake_well(&other, &me);
    assert_eq!((connected, accepted), (numbers(2).map(|()| EPOCH), numbers(3).map(|()| (1, EPOCH))));

    let other = Identity { secret: Secret::new(b"a secret of others").unwrap(), ..identity(1) };
    assert_eq!(shake_well(&other, &me), (Err(HandshakeError::Distrusted), Err(HandshakeError::Secret)));

    // Another process is there than the hosts say.
    let (connected, accepted) = shake(&identity(2), &identity(1), 0, Epoch::ASKED, |_, _| {});
    assert!(matches!(
        (connected, accepted),
        (Err(HandshakeError::Index { .. }), Err(HandshakeError::Index { from: 2, to: 0 }))
    ));
    // Or this process itself.
    let (connected, accepted) = shake(&identity(1), &identity(1), 1, Epoch::ASKED, |_, _| {});
    assert!(matches!((connected, accepted), (Err(HandshakeError::Index { .. }), Err(HandshakeError::Index { .. }))));

    // The lower process is in another run than the one that process 0 told of.
    let (connected, accepted) = shake(&identity(2), &identity(1), 1, Epoch([6; 16]), |_, _| {});
    assert_eq!(connected, Err(HandshakeError::Epoch));
    assert!(accepted.is_err(), "the one that connects does not confirm");
}

/// What was said once is worth nothing later.
#[test]
fn a_conversation_that_was_overheard_opens_nothing() {
    let heard: &'static std::sync::Mutex<Vec<u8>> = Box::leak(Box::default());
    let (connected, _) = shake(&identity(1), &identity(0), 0, Epoch::ASKED, |direction, all| {
        if direction == 0 {
            *heard.lock().unwrap() = all.to_vec();
        }
    });
    assert_eq!(connected, Ok(EPOCH));
    let (mut a, mut b) = UnixStream::pair().unwrap();
    let said = heard.lock().unwrap().clone();
    assert_eq!(said.len(), 44 + 144 + 32);
    a.write_all(&said).unwrap();
    assert_eq!(accept(&mut b, &identity(0), |_| panic!("it is not even judged")), Err(HandshakeError::Secret));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A bit that is flipped on the way, in whichever frame, is noticed by whoever hears it.
    #[test]
    fn a_spoilt_bit_makes_no_link(direction in 0..2_usize, at in 0..220_usize, bit in 0..8_u8) {
        let at = if direction == 0 { at } else { at % (44 + 148) };
        let (connected, accepted) = shake(&identity(1), &identity(0), 0, Epoch::ASKED, move |way, all| {
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
    fn anything_at_all_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), greets in any::<bool>()) {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        if greets {
            a.write_all(&[b"deltarec".as_slice(), &1_u32.to_be_bytes()].concat()).unwrap();
        }
        a.write_all(&bytes).unwrap();
        a.shutdown(std::net::Shutdown::Write).unwrap();
        let accepted = accept(&mut b, &identity(0), |_| panic!("it is not even judged"));
        prop_assert!(matches!(accepted, Err(HandshakeError::Stranger | HandshakeError::Mute | HandshakeError::Closed | HandshakeError::Protocol(_) | HandshakeError::Secret)));
        let (mut a, mut b) = UnixStream::pair().unwrap();
        if greets {
            a.write_all(&[b"deltarec".as_slice(), &1_u32.to_be_bytes()].concat()).unwrap();
        }
        a.write_all(&bytes).unwrap();
        a.shutdown(std::net::Shutdown::Write).unwrap();
        prop_assert!(connect(&mut b, &identity(1), 0, Epoch::ASKED).is_err());
    }
}

//! The two sides of the handshake that makes a link. [`super::frames`] shows the order of the frames.
//!
//! Both sides prove that they know the secret by keyed hashes over two fresh nonces, so neither a stranger nor a recorded
//! handshake gets a link. The connecting side proves it first. No claim is read before its hash is checked.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use zerocopy::{FromBytes, IntoBytes};

use super::error::HandshakeError;
use super::frames::{Answer, Claims, Confirm, Epoch, Greeting, MAGIC, PROTOCOL, Proof};
use super::identity::Identity;

/// Deadline for a whole handshake. A second is enough on any network that a graph should span.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The connecting side. Process `to` is expected at the other end. Returns the epoch of the run to join.
///
/// Fails if the other side does not prove that it knows the secret, differs in build, size or configuration, or refuses.
pub fn connect(link: &mut (impl Read + Write), me: &Identity, to: u32, epoch: Epoch) -> Result<Epoch, HandshakeError> {
    let mine = Greeting::new(random());
    write(link, &mine)?;
    let theirs = greeting(link)?;
    let nonces = [mine.nonce, theirs.nonce].concat();
    let claims = me.claims(to, epoch);
    let mac = me.secret.mac(&[CONNECTS, &nonces, claims.as_bytes()]);
    write(link, &Proof { claims, mac: mac.into() })?;
    let answer: Answer = read(link).map_err(|error| match error {
        HandshakeError::Closed => HandshakeError::ProofRejected,
        other => other,
    })?;
    if me.secret.mac(&answer_parts(&nonces, &claims, &answer)) != answer.mac {
        return Err(HandshakeError::WrongSecret);
    }
    me.compare(&answer.claims)?;
    if answer.claims.from.get() != to {
        return Err(HandshakeError::ProcessMismatch { from: answer.claims.from.get(), to: me.process });
    }
    if let Some(error) = HandshakeError::from_code(answer.verdict.get(), me.process, to) {
        return Err(error);
    }
    if answer.claims.epoch == Epoch::UNKNOWN || (epoch != Epoch::UNKNOWN && answer.claims.epoch != epoch) {
        return Err(HandshakeError::EpochMismatch);
    }
    let mac = me.secret.mac(&confirm_parts(&nonces, &claims, &answer));
    write(link, &Confirm { mac: mac.into() })?;
    Ok(answer.claims.epoch)
}

/// The accepting side. `admit` decides for a process of this cluster which run it may join. Returns the number of the process
/// and the epoch of that run.
///
/// Fails if the other side does not prove that it knows the secret, differs in build, size or configuration, or is not admitted.
pub fn accept(
    link: &mut (impl Read + Write),
    me: &Identity,
    admit: impl FnOnce(&Claims) -> Result<Epoch, HandshakeError>,
) -> Result<(u32, Epoch), HandshakeError> {
    let theirs = greeting(link);
    let mine = Greeting::new(random());
    if matches!(theirs, Ok(_) | Err(HandshakeError::ProtocolVersion(_))) {
        write(link, &mine)?;
    }
    let nonces = [theirs?.nonce, mine.nonce].concat();
    let Proof { claims, mac } = read(link)?;
    if me.secret.mac(&[CONNECTS, &nonces, claims.as_bytes()]) != mac {
        return Err(HandshakeError::WrongSecret);
    }
    let admitted = me.compare(&claims).and_then(|()| admit(&claims));
    let epoch = *admitted.as_ref().unwrap_or(&Epoch::UNKNOWN);
    let verdict = admitted.as_ref().err().map_or(0, HandshakeError::code).into();
    let mut answer = Answer { verdict, claims: me.claims(claims.from.get(), epoch), mac: [0; 32] };
    answer.mac = me.secret.mac(&answer_parts(&nonces, &claims, &answer)).into();
    write(link, &answer)?;
    admitted?;
    let confirm: Confirm = read(link)?;
    if me.secret.mac(&confirm_parts(&nonces, &claims, &answer)) != confirm.mac {
        return Err(HandshakeError::WrongSecret);
    }
    Ok((claims.from.get(), epoch))
}

/// Prefixes of the hashed bytes: the hash of one frame is never valid for another.
const CONNECTS: &[u8] = b"connects";
const ANSWERS: &[u8] = b"answers.";
const CONFIRMS: &[u8] = b"confirms";

fn answer_parts<'a>(nonces: &'a [u8], claims: &'a Claims, answer: &'a Answer) -> [&'a [u8]; 5] {
    [ANSWERS, nonces, claims.as_bytes(), answer.verdict.as_bytes(), answer.claims.as_bytes()]
}

fn confirm_parts<'a>(nonces: &'a [u8], claims: &'a Claims, answer: &'a Answer) -> [&'a [u8]; 4] {
    [CONFIRMS, nonces, claims.as_bytes(), answer.claims.as_bytes()]
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

impl Epoch {
    /// A random epoch, never [`Epoch::UNKNOWN`].
    pub(super) fn draw() -> Self {
        let mut epoch = random();
        epoch[0] |= 1;
        Epoch(epoch)
    }
}

/// Reads the greeting in three steps, so that the error distinguishes a probe, another protocol and a short greeting.
fn greeting(link: &mut impl Read) -> Result<Greeting, HandshakeError> {
    let mut bytes = [0; size_of::<Greeting>()];
    let (magic, rest) = bytes.split_at_mut(8);
    fill(link, &mut magic[..1]).map_err(|error| match error {
        HandshakeError::Closed => HandshakeError::Probe,
        other => other,
    })?;
    fill(link, &mut magic[1..])?;
    if magic != MAGIC {
        return Err(HandshakeError::UnknownProtocol);
    }
    fill(link, rest)?;
    let greeting = Greeting::read_from_bytes(&bytes).expect("the buffer has its size");
    match greeting.protocol.get() {
        PROTOCOL => Ok(greeting),
        other => Err(HandshakeError::ProtocolVersion(other)),
    }
}

fn read<F: FromBytes + IntoBytes>(link: &mut impl Read) -> Result<F, HandshakeError> {
    let mut frame = F::new_zeroed();
    fill(link, frame.as_mut_bytes())?;
    Ok(frame)
}

fn fill(link: &mut impl Read, bytes: &mut [u8]) -> Result<(), HandshakeError> {
    link.read_exact(bytes).map_err(|error| io_error(&error))
}

fn write<F: IntoBytes + zerocopy::Immutable>(link: &mut impl Write, frame: &F) -> Result<(), HandshakeError> {
    link.write_all(frame.as_bytes()).and_then(|()| link.flush()).map_err(|error| io_error(&error))
}

fn io_error(error: &io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => HandshakeError::TimedOut,
        _ => HandshakeError::Closed,
    }
}

/// A socket with a deadline for all reads and writes together, so that a slow peer gains nothing by single bytes.
pub(super) struct Deadline<'s> {
    socket: &'s TcpStream,
    deadline: Instant,
}

impl<'s> Deadline<'s> {
    pub(super) fn new(socket: &'s TcpStream, timeout: Duration) -> Self {
        Deadline { socket, deadline: Instant::now() + timeout }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Deadline<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        (&mut &*self.socket).read(bytes)
    }
}

impl Write for Deadline<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        (&mut &*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

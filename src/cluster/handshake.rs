//! The two sides of the handshake that makes a link. [`super::frames`] shows the order of the frames.
//!
//! It is the pattern `NNpsk0` of the Noise protocol. The key derived from the secret authenticates both sides, and keys drawn
//! for this link alone encrypt what follows, so a secret that leaks later opens no recorded link. Both greetings are the
//! prologue: their nonces make a recorded handshake worthless before its claims are read, which Noise alone does not.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use snow::{Builder, HandshakeState};
use zerocopy::{FromBytes, IntoBytes};

use super::channel::{Channel, wire_length};
use super::error::HandshakeError;
use super::frames::{Answer, CONFIRM, Claims, Epoch, Greeting, MAGIC, PROTOCOL};
use super::identity::Identity;

/// Deadline for a whole handshake. A second is enough on any network that a graph should span.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

const NOISE: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";

/// The key exchange and the tag that a message of the handshake adds to its payload.
const OVERHEAD: usize = 32 + 16;

/// The connecting side. Process `to` is expected at the other end. Returns the epoch of the run to join, and the link.
///
/// Fails if the other side does not prove that it knows the secret, differs in build, size or configuration, or refuses.
pub fn connect(
    link: &mut (impl Read + Write),
    me: &Identity,
    to: u32,
    epoch: Epoch,
) -> Result<(Epoch, Channel), HandshakeError> {
    let mine = Greeting::new(me.protection, random());
    write(link, mine.as_bytes())?;
    let theirs = greeting(link)?;
    agree(&mine, &theirs)?;
    let mut noise = noise(me, &mine, &theirs, true);
    send(link, &mut noise, &me.claims(to, epoch))?;
    let answer: Answer = receive(link, &mut noise).map_err(|error| match error {
        HandshakeError::Closed => HandshakeError::ProofRejected,
        other => other,
    })?;
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
    let mut channel = channel(noise);
    write(link, &channel.seal(&CONFIRM))?;
    Ok((answer.claims.epoch, channel))
}

/// The accepting side. `admit` decides for a process of this cluster which run it may join. Returns the number of the process,
/// the epoch of that run, and the link.
///
/// Fails if the other side does not prove that it knows the secret, differs in build, size or configuration, or is not admitted.
pub fn accept(
    link: &mut (impl Read + Write),
    me: &Identity,
    admit: impl FnOnce(&Claims) -> Result<Epoch, HandshakeError>,
) -> Result<(u32, Epoch, Channel), HandshakeError> {
    let theirs = greeting(link);
    let mine = Greeting::new(me.protection, random());
    if matches!(theirs, Ok(_) | Err(HandshakeError::ProtocolVersion(_))) {
        write(link, mine.as_bytes())?;
    }
    let theirs = theirs?;
    agree(&mine, &theirs)?;
    let mut noise = noise(me, &theirs, &mine, false);
    let claims: Claims = receive(link, &mut noise)?;
    let admitted = me.compare(&claims).and_then(|()| admit(&claims));
    let epoch = *admitted.as_ref().unwrap_or(&Epoch::UNKNOWN);
    let verdict = admitted.as_ref().err().map_or(0, HandshakeError::code).into();
    send(link, &mut noise, &Answer { verdict, claims: me.claims(claims.from.get(), epoch) })?;
    admitted?;
    let mut channel = channel(noise);
    let mut confirm = [0; wire_length(CONFIRM.len())];
    fill(link, &mut confirm)?;
    match channel.open(&confirm) {
        Ok(CONFIRM) => Ok((claims.from.get(), epoch, channel)),
        _ => Err(HandshakeError::WrongSecret),
    }
}

fn agree(mine: &Greeting, theirs: &Greeting) -> Result<(), HandshakeError> {
    if mine.agrees_with(theirs) { Ok(()) } else { Err(HandshakeError::ProtectionMismatch) }
}

fn noise(me: &Identity, connecting: &Greeting, accepting: &Greeting, connects: bool) -> HandshakeState {
    let prologue = [connecting.as_bytes(), accepting.as_bytes()].concat();
    let builder = Builder::new(NOISE.parse().expect("the name is valid"));
    let builder = builder.psk(0, me.secret.key()).and_then(|builder| builder.prologue(&prologue));
    let builder = builder.expect("each is set once");
    let state = if connects { builder.build_initiator() } else { builder.build_responder() };
    state.expect("the pattern needs no other keys")
}

fn channel(noise: HandshakeState) -> Channel {
    Channel::new(noise.into_stateless_transport_mode().expect("both messages were exchanged"))
}

fn send<P: IntoBytes + zerocopy::Immutable>(
    link: &mut impl Write,
    noise: &mut HandshakeState,
    payload: &P,
) -> Result<(), HandshakeError> {
    let mut message = vec![0; size_of::<P>() + OVERHEAD];
    let length = noise.write_message(payload.as_bytes(), &mut message).expect("the buffer fits");
    write(link, &message[..length])
}

fn receive<P: FromBytes + IntoBytes>(link: &mut impl Read, noise: &mut HandshakeState) -> Result<P, HandshakeError> {
    let mut message = vec![0; size_of::<P>() + OVERHEAD];
    fill(link, &mut message)?;
    let mut payload = vec![0; message.len()];
    let length = noise.read_message(&message, &mut payload).map_err(|_| HandshakeError::WrongSecret)?;
    Ok(P::read_from_bytes(&payload[..length]).expect("the message has the size of its payload"))
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

/// Reads the greeting in steps, so that the error distinguishes a probe, another protocol, another version, whose greeting may
/// have another length, and a short greeting.
fn greeting(link: &mut impl Read) -> Result<Greeting, HandshakeError> {
    let mut bytes = [0; size_of::<Greeting>()];
    let (magic, rest) = bytes.split_at_mut(8);
    let (protocol, rest) = rest.split_at_mut(4);
    fill(link, &mut magic[..1]).map_err(|error| match error {
        HandshakeError::Closed => HandshakeError::Probe,
        other => other,
    })?;
    fill(link, &mut magic[1..])?;
    if magic != MAGIC {
        return Err(HandshakeError::UnknownProtocol);
    }
    fill(link, protocol)?;
    let protocol = u32::from_be_bytes(protocol.try_into().expect("it has four bytes"));
    if protocol != PROTOCOL {
        return Err(HandshakeError::ProtocolVersion(protocol));
    }
    fill(link, rest)?;
    Ok(Greeting::read_from_bytes(&bytes).expect("the buffer has its size"))
}

fn fill(link: &mut impl Read, bytes: &mut [u8]) -> Result<(), HandshakeError> {
    link.read_exact(bytes).map_err(|error| io_error(&error))
}

fn write(link: &mut impl Write, bytes: &[u8]) -> Result<(), HandshakeError> {
    link.write_all(bytes).and_then(|()| link.flush()).map_err(|error| io_error(&error))
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

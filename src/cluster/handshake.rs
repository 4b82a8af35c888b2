//! The two sides of a link that is being made; see [`super::frames`] for who says what.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use zerocopy::{FromBytes, IntoBytes};

use super::error::HandshakeError;
use super::frames::{Answer, Claims, Confirm, Epoch, Greeting, PROTOCOL, Proof};
use super::identity::Identity;

/// How long all of it may take. A second would do for any network a graph should span.
pub(super) const TIME: Duration = Duration::from_secs(5);

/// The side that connects. Returns the epoch of the run that it may join.
pub fn connect(link: &mut (impl Read + Write), me: &Identity, to: u32, epoch: Epoch) -> Result<Epoch, HandshakeError> {
    let mine = Greeting::new(nonce());
    write(link, &mine)?;
    let theirs = greeting(link)?;
    let nonces = [mine.nonce, theirs.nonce].concat();
    let claims = me.claims(to, epoch);
    let seal = me.secret.seal(&[CONNECTS, &nonces, claims.as_bytes()]);
    write(link, &Proof { claims, seal: seal.into() })?;
    let answer: Answer = read(link).map_err(|refusal| match refusal {
        HandshakeError::Closed => HandshakeError::Distrusted,
        other => other,
    })?;
    if me.secret.seal(&answer_parts(&nonces, &claims, &answer)) != answer.seal {
        return Err(HandshakeError::Secret);
    }
    me.compare(&answer.claims)?;
    if answer.claims.from.get() != to {
        return Err(HandshakeError::Index { from: answer.claims.from.get(), to: me.process });
    }
    if let Some(refusal) = HandshakeError::told(answer.verdict.get(), me.process, to) {
        return Err(refusal);
    }
    if answer.claims.epoch == Epoch::ASKED || (epoch != Epoch::ASKED && answer.claims.epoch != epoch) {
        return Err(HandshakeError::Epoch);
    }
    let seal = me.secret.seal(&confirm_parts(&nonces, &claims, &answer));
    write(link, &Confirm { seal: seal.into() })?;
    Ok(answer.claims.epoch)
}

/// The side that is connected to. `judge` says for a process of this cluster which run it may join, or why none.
/// Returns the number of the process.
pub fn accept(
    link: &mut (impl Read + Write),
    me: &Identity,
    judge: impl FnOnce(&Claims) -> Result<Epoch, HandshakeError>,
) -> Result<(u32, Epoch), HandshakeError> {
    let theirs = greeting(link);
    let mine = Greeting::new(nonce());
    if matches!(theirs, Ok(_) | Err(HandshakeError::Protocol(_))) {
        write(link, &mine)?;
    }
    let nonces = [theirs?.nonce, mine.nonce].concat();
    let Proof { claims, seal } = read(link)?;
    // Nothing that it says is looked at before this.
    if me.secret.seal(&[CONNECTS, &nonces, claims.as_bytes()]) != seal {
        return Err(HandshakeError::Secret);
    }
    let judged = me.compare(&claims).and_then(|()| judge(&claims));
    let epoch = *judged.as_ref().unwrap_or(&Epoch::ASKED);
    let verdict = judged.as_ref().err().map_or(0, HandshakeError::code).into();
    let mut answer = Answer { verdict, claims: me.claims(claims.from.get(), epoch), seal: [0; 32] };
    answer.seal = me.secret.seal(&answer_parts(&nonces, &claims, &answer)).into();
    write(link, &answer)?;
    judged?;
    let confirm: Confirm = read(link)?;
    if me.secret.seal(&confirm_parts(&nonces, &claims, &answer)) != confirm.seal {
        return Err(HandshakeError::Secret);
    }
    Ok((claims.from.get(), epoch))
}

/// No seal of one side is good for another.
const CONNECTS: &[u8] = b"connects";
const ANSWERS: &[u8] = b"answers.";
const CONFIRMS: &[u8] = b"confirms";

fn answer_parts<'a>(nonces: &'a [u8], claims: &'a Claims, answer: &'a Answer) -> [&'a [u8]; 5] {
    [ANSWERS, nonces, claims.as_bytes(), answer.verdict.as_bytes(), answer.claims.as_bytes()]
}

fn confirm_parts<'a>(nonces: &'a [u8], claims: &'a Claims, answer: &'a Answer) -> [&'a [u8]; 4] {
    [CONFIRMS, nonces, claims.as_bytes(), answer.claims.as_bytes()]
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).expect("the system has random numbers");
    nonce
}

impl Epoch {
    /// A new one, not [`Epoch::ASKED`].
    pub(super) fn draw() -> Self {
        let mut epoch = [0; 16];
        getrandom::fill(&mut epoch).expect("the system has random numbers");
        epoch[0] |= 1;
        Epoch(epoch)
    }
}

/// A stranger is told by its first bytes, however few or many it sends.
fn greeting(link: &mut impl Read) -> Result<Greeting, HandshakeError> {
    let mut bytes = [0; size_of::<Greeting>()];
    let (magic, rest) = bytes.split_at_mut(8);
    fill(link, &mut magic[..1]).map_err(|refusal| match refusal {
        HandshakeError::Closed => HandshakeError::Mute,
        other => other,
    })?;
    fill(link, &mut magic[1..])?;
    if !Greeting::is_begun_by(magic.try_into().expect("eight bytes")) {
        return Err(HandshakeError::Stranger);
    }
    fill(link, rest)?;
    let greeting = Greeting::read_from_bytes(&bytes).expect("as many bytes as it has");
    if greeting.protocol() == PROTOCOL { Ok(greeting) } else { Err(HandshakeError::Protocol(greeting.protocol())) }
}

fn read<F: FromBytes + IntoBytes>(link: &mut impl Read) -> Result<F, HandshakeError> {
    let mut frame = F::new_zeroed();
    fill(link, frame.as_mut_bytes())?;
    Ok(frame)
}

fn fill(link: &mut impl Read, bytes: &mut [u8]) -> Result<(), HandshakeError> {
    link.read_exact(bytes).map_err(|error| refusal(&error))
}

fn write<F: IntoBytes + zerocopy::Immutable>(link: &mut impl Write, frame: &F) -> Result<(), HandshakeError> {
    link.write_all(frame.as_bytes()).and_then(|()| link.flush()).map_err(|error| refusal(&error))
}

fn refusal(error: &io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => HandshakeError::Silent,
        _ => HandshakeError::Closed,
    }
}

/// A socket on which everything must be over by a point in time, however slowly the other side goes on.
pub(super) struct Until<'s> {
    socket: &'s TcpStream,
    end: Instant,
}

impl<'s> Until<'s> {
    pub(super) fn new(socket: &'s TcpStream, time: Duration) -> Self {
        Until { socket, end: Instant::now() + time }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        (&mut &*self.socket).read(bytes)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        (&mut &*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

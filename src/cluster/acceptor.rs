//! Where connections come in: each is heard in a thread of its own, and only a process of this cluster gets a link.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::error::{HandshakeError, LogThrottle, SAID_EVERY};
use super::frames::{Claims, Epoch, READY};
use super::handshake::{self, Until};
use super::identity::Identity;
use super::links::{Link, is_alive, take_if_there};

/// Connections heard at a time. When there is one more, the one that has been silent for longest is given up: a member
/// says all in some milliseconds, so silent strangers do not keep it out.
const HEARD: usize = 32;

/// See the module.
pub(super) struct Acceptor {
    me: Identity,
    state: Mutex<State>,
    heard: Mutex<Heard>,
    sayings: LogThrottle,
}

#[derive(Default)]
struct State {
    /// The run that others may join; `None` while it is not known.
    epoch: Option<Epoch>,
    /// Links from processes with higher numbers.
    links: Vec<Option<Link>>,
    /// Whether the links have been given away.
    begun: bool,
}

#[derive(Default)]
struct Heard {
    next: u64,
    sockets: VecDeque<(u64, TcpStream)>,
}

impl Acceptor {
    pub(super) fn new(me: Identity) -> Self {
        let links = (0..me.processes).map(|_| None).collect();
        let state = State { links, ..State::default() };
        Acceptor { me, state: Mutex::new(state), heard: Mutex::default(), sayings: LogThrottle::default() }
    }

    /// Takes connections for as long as this process lives: who comes when the run has begun is told so.
    pub(super) fn listen(self: &Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let gate = Arc::clone(self);
        thread::Builder::new().name("gate".into()).spawn(move || gate.accept(&listener))?;
        Ok(())
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((socket, from)) => self.hear(socket, from),
                Err(error) => {
                    if let Some(more) = self.sayings.may_say(error.kind(), SAID_EVERY) {
                        tracing::warn!("a connection could not be taken: {error}{more}");
                    }
                    // Out of file descriptors, most likely: it does not help to try at once.
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Hears a connection in a thread of its own.
    fn hear(self: &Arc<Self>, socket: TcpStream, from: SocketAddr) {
        let gate = Arc::clone(self);
        let number = match socket.try_clone() {
            Ok(clone) => self.heard().enter(clone),
            Err(error) => return tracing::warn!("a connection from {from} could not be taken: {error}"),
        };
        let hearing = thread::Builder::new().name("handshake".into()).spawn(move || {
            let taken = gate.welcome(socket, from);
            gate.heard().leave(number);
            match taken {
                Ok(()) => {}
                Err(refusal) if refusal.is_usual() => tracing::debug!("{from} is to try again: {refusal}"),
                Err(refusal) => {
                    if let Some(more) = gate.sayings.may_say(&refusal, refusal.said_every()) {
                        tracing::warn!("a connection from {from} is refused: {refusal}{more}");
                    }
                }
            }
        });
        if let Err(error) = hearing {
            self.heard().leave(number);
            tracing::warn!("a connection from {from} could not be heard: {error}");
        }
    }

    fn welcome(&self, socket: TcpStream, from: SocketAddr) -> Result<(), HandshakeError> {
        let judge = |claims: &Claims| self.state().judge(&self.me, claims);
        let (process, epoch) = handshake::accept(&mut Until::new(&socket, handshake::TIME), &self.me, judge)?;
        let mut state = self.state();
        // What was so when it was judged may have changed.
        state.may_join(process, epoch)?;
        state.links[process as usize] = Some(Link::new(socket, process).map_err(|_| HandshakeError::Closed)?);
        tracing::info!("process {process} is linked, from {from}");
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on others may join this run. Links of another one are given up.
    pub(super) fn open(&self, epoch: Epoch) {
        self.shut();
        self.state().epoch = Some(epoch);
    }

    /// Nobody may join, and whoever had is let go.
    pub(super) fn shut(&self) {
        let mut state = self.state();
        state.epoch = None;
        state.links.iter_mut().for_each(|link| *link = None);
    }

    /// The first process that had a link and has none any more, which is let go.
    pub(super) fn lost(&self) -> Option<u32> {
        let mut state = self.state();
        let dead = state.links.iter_mut().find(|link| link.as_ref().is_some_and(|link| !is_alive(&link.socket)));
        dead.and_then(Option::take).map(|link| link.process)
    }

    /// Whether all processes with higher numbers have a link.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.links.iter().skip(self.me.process as usize + 1).all(Option::is_some)
    }

    /// The first process that is missing.
    pub(super) fn missing(&self) -> Option<usize> {
        let state = self.state();
        let higher = self.me.process as usize + 1..state.links.len();
        higher.into_iter().find(|process| state.links[*process].is_none())
    }

    /// Whether all processes are linked and have said that they are ready.
    pub(super) fn all_ready(&self) -> bool {
        let mut state = self.state();
        for place in &mut state.links {
            let Some(link) = place.as_mut().filter(|link| !link.ready) else { continue };
            match take_if_there::<8>(&link.socket) {
                Ok(None) => {}
                Ok(Some(READY)) => link.ready = true,
                Ok(Some(_)) | Err(_) => *place = None,
            }
        }
        state.links.iter().skip(self.me.process as usize + 1).all(|link| link.as_ref().is_some_and(|link| link.ready))
    }

    /// Closes the gate and gives all links away, by process.
    pub(super) fn begin(&self) -> Vec<Option<TcpStream>> {
        let mut state = self.state();
        state.begun = true;
        state.links.iter_mut().map(|link| link.take().map(|link| link.socket)).collect()
    }
}

impl State {
    fn judge(&self, me: &Identity, claims: &Claims) -> Result<Epoch, HandshakeError> {
        let (from, to) = (claims.from.get(), claims.to.get());
        if from <= me.process {
            return Err(HandshakeError::Index { from, to });
        }
        if self.begun {
            return Err(HandshakeError::Begun);
        }
        let Some(epoch) = self.epoch else { return Err(HandshakeError::NotYet) };
        // Process 0 is asked for the epoch; everybody else is told the one that both have from it.
        let asks = me.process == 0 && claims.epoch == Epoch::ASKED;
        if !asks && claims.epoch != epoch {
            return Err(HandshakeError::Epoch);
        }
        self.may_join(from, epoch).map(|()| epoch)
    }

    /// The lower process decides which of several connections counts: the first, for as long as it is alive.
    fn may_join(&self, process: u32, epoch: Epoch) -> Result<(), HandshakeError> {
        if self.begun {
            return Err(HandshakeError::Begun);
        }
        if self.epoch != Some(epoch) {
            return Err(HandshakeError::NotYet);
        }
        match &self.links[process as usize] {
            Some(link) if is_alive(&link.socket) => Err(HandshakeError::Taken(process)),
            _ => Ok(()),
        }
    }
}

impl Heard {
    fn enter(&mut self, socket: TcpStream) -> u64 {
        if self.sockets.len() >= HEARD
            && let Some((_, longest)) = self.sockets.pop_front()
            && let Err(error) = longest.shutdown(Shutdown::Both)
        {
            tracing::debug!("a connection was closed already: {error}");
        }
        self.next += 1;
        self.sockets.push_back((self.next, socket));
        self.next
    }

    fn leave(&mut self, number: u64) {
        self.sockets.retain(|(heard, _)| *heard != number);
    }
}

//! Accepts connections: each handshake has its own thread, and only a process of this cluster gets a link.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use connectors::LogThrottle;

use super::error::HandshakeError;
use super::frames::{Claims, Epoch, READY};
use super::handshake::{self, Deadline};
use super::identity::Identity;
use super::links::{Broken, Link};

/// Most handshakes at a time. One more closes the oldest: a member completes its handshake in milliseconds, so connections
/// that send nothing cannot keep it out.
const HANDSHAKES: usize = 32;

/// Accepts the connections of processes with higher numbers.
pub(super) struct Acceptor {
    me: Identity,
    state: Mutex<AcceptorState>,
    handshakes: Mutex<Handshakes>,
    /// By kind of failure.
    throttle: LogThrottle<&'static str>,
}

#[derive(Default)]
struct AcceptorState {
    /// Epoch of the run that others may join. `None`: unknown yet.
    epoch: Option<Epoch>,
    /// Links by process, to those with higher numbers.
    links: Vec<Option<Link>>,
    /// Whether the run has started and the links are taken.
    started: bool,
}

/// Sockets with a handshake in progress, the oldest first.
#[derive(Default)]
struct Handshakes {
    last: u64,
    sockets: VecDeque<(u64, TcpStream)>,
}

impl Acceptor {
    pub(super) fn new(me: Identity) -> Self {
        let links = (0..me.processes).map(|_| None).collect();
        let state = AcceptorState { links, ..AcceptorState::default() };
        Acceptor { me, state: Mutex::new(state), handshakes: Mutex::default(), throttle: LogThrottle::default() }
    }

    /// Accepts connections as long as this process lives, so that late processes learn that the run has started.
    pub(super) fn listen(self: &Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let acceptor = Arc::clone(self);
        let accept = move || tracing::error_span!("acceptor").in_scope(|| acceptor.accept(&listener));
        thread::Builder::new().name("acceptor".into()).spawn(accept)?;
        Ok(())
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((socket, from)) => self.start_handshake(socket, from),
                Err(error) => {
                    if let Some(suppressed) = self.throttle.admit("accept") {
                        tracing::warn!(%error, suppressed, "cannot accept a connection");
                    }
                    // The usual cause is a lack of file descriptors, which an immediate retry does not cure.
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn start_handshake(self: &Arc<Self>, socket: TcpStream, from: SocketAddr) {
        let acceptor = Arc::clone(self);
        let number = match socket.try_clone() {
            Ok(clone) => self.handshakes().add(clone),
            Err(error) => return self.warn("accept", from, &error, "cannot accept a connection"),
        };
        let handshake = move || {
            let linked = acceptor.link(socket, from);
            acceptor.handshakes().remove(number);
            match linked {
                Ok(()) => {}
                Err(error) if error.is_expected() => tracing::debug!(%from, %error, "connection refused for now"),
                Err(error) => {
                    if let Some(suppressed) = acceptor.throttle.admit_every(error.log_interval(), error.kind()) {
                        tracing::warn!(%from, %error, suppressed, "connection refused");
                    }
                }
            }
        };
        let span = tracing::error_span!("handshake");
        let started = thread::Builder::new().name("handshake".into()).spawn(move || span.in_scope(handshake));
        if let Err(error) = started {
            self.handshakes().remove(number);
            self.warn("thread", from, &error, "cannot start the thread for a handshake");
        }
    }

    fn warn(&self, kind: &'static str, from: SocketAddr, error: &std::io::Error, what: &str) {
        if let Some(suppressed) = self.throttle.admit(kind) {
            tracing::warn!(%from, %error, suppressed, "{what}");
        }
    }

    fn link(&self, socket: TcpStream, from: SocketAddr) -> Result<(), HandshakeError> {
        let admit = |claims: &Claims| self.state().admit(&self.me, claims);
        let mut stream = Deadline::new(&socket, handshake::TIMEOUT);
        let (process, epoch, channel) = handshake::accept(&mut stream, &self.me, admit)?;
        let mut state = self.state();
        // The state may have changed since it was checked.
        state.may_join(process, epoch)?;
        let link = Link::new(socket, channel).map_err(|_| HandshakeError::Closed)?;
        state.links[process as usize] = Some(link);
        tracing::info!(process, %from, "process linked");
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, AcceptorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handshakes(&self) -> MutexGuard<'_, Handshakes> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits processes to this run. Drops links of another run.
    pub(super) fn open(&self, epoch: Epoch) {
        self.close();
        self.state().epoch = Some(epoch);
    }

    /// Admits no process, and drops all links.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.epoch = None;
        state.links.iter_mut().for_each(|link| *link = None);
    }

    /// Drops the first dead link and returns its process.
    pub(super) fn take_lost(&self) -> Option<u32> {
        let mut state = self.state();
        let dead = state.links.iter().position(|link| link.as_ref().is_some_and(|link| !link.is_alive()))?;
        state.links[dead] = None;
        Some(dead as u32)
    }

    /// The first process with a higher number that is not linked.
    pub(super) fn missing(&self) -> Option<usize> {
        let state = self.state();
        let higher = self.me.process as usize + 1..state.links.len();
        higher.into_iter().find(|process| state.links[*process].is_none())
    }

    /// Whether all processes are linked and have sent that they are ready.
    pub(super) fn all_ready(&self) -> bool {
        let mut state = self.state();
        for (process, slot) in state.links.iter_mut().enumerate() {
            let Some(link) = slot else { continue };
            match link.receive() {
                Ok(None) => {}
                Ok(Some(READY)) if !link.ready => link.ready = true,
                Err(Broken::Closed) => *slot = None,
                Ok(Some(_)) | Err(Broken::Damaged) => {
                    // Nothing is lost before the start: the process links itself again.
                    if let Some(suppressed) = self.throttle.admit("damaged") {
                        tracing::warn!(
                            process,
                            suppressed,
                            "what arrives from a process was altered, linking it again"
                        );
                    }
                    *slot = None;
                }
            }
        }
        state.links.iter().skip(self.me.process as usize + 1).all(|link| link.as_ref().is_some_and(|link| link.ready))
    }

    /// Starts the run: takes the links, by process, and admits no process from now on.
    pub(super) fn start(&self) -> Vec<Option<Link>> {
        let mut state = self.state();
        state.started = true;
        state.links.iter_mut().map(Option::take).collect()
    }
}

impl AcceptorState {
    fn admit(&self, me: &Identity, claims: &Claims) -> Result<Epoch, HandshakeError> {
        let (from, to) = (claims.from.get(), claims.to.get());
        if from <= me.process {
            return Err(HandshakeError::ProcessMismatch { from, to });
        }
        if self.started {
            return Err(HandshakeError::RunStarted);
        }
        let Some(epoch) = self.epoch else { return Err(HandshakeError::EpochUnknown) };
        // Process 0 distributes the epoch. With any other process, both sides must have the same one from process 0.
        let is_request = me.process == 0 && claims.epoch == Epoch::UNKNOWN;
        if !is_request && claims.epoch != epoch {
            return Err(HandshakeError::EpochMismatch);
        }
        self.may_join(from, epoch).map(|()| epoch)
    }

    /// Of several connections from one process, the first counts as long as it lives. Only the lower process decides this.
    fn may_join(&self, process: u32, epoch: Epoch) -> Result<(), HandshakeError> {
        if self.started {
            return Err(HandshakeError::RunStarted);
        }
        if self.epoch != Some(epoch) {
            return Err(HandshakeError::EpochUnknown);
        }
        match &self.links[process as usize] {
            Some(link) if link.is_alive() => Err(HandshakeError::AlreadyLinked(process)),
            _ => Ok(()),
        }
    }
}

impl Handshakes {
    /// Adds a socket, and closes the oldest one if there are too many.
    fn add(&mut self, socket: TcpStream) -> u64 {
        if self.sockets.len() >= HANDSHAKES
            && let Some((_, oldest)) = self.sockets.pop_front()
            && let Err(error) = oldest.shutdown(Shutdown::Both)
        {
            tracing::debug!(%error, "connection was closed already");
        }
        self.last += 1;
        self.sockets.push_back((self.last, socket));
        self.last
    }

    fn remove(&mut self, number: u64) {
        self.sockets.retain(|(other, _)| *other != number);
    }
}

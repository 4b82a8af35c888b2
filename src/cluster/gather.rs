//! How the processes of a cluster come together.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zerocopy::{FromBytes, IntoBytes};

use super::acceptor::Acceptor;
use super::error::{HandshakeError, LogThrottle, SAID_EVERY};
use super::frames::{Epoch, Go, READY};
use super::handshake::{self, Until};
use super::hosts::{Hosts, is_private};
use super::identity::Identity;
use super::links::{Links, Orders, is_alive, settle, take_if_there};
use crate::stop::Stop;

/// One process of a cluster that is to be.
#[derive(Debug)]
pub struct Member {
    /// All of them.
    pub hosts: Hosts,
    /// This one.
    pub me: Identity,
    /// Whether it may listen where the internet can reach it.
    pub publicly: bool,
}

/// Why a process takes no part.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It would be reached from everywhere.
    #[error(
        "{address} ({ip}) is not an address of this machine alone or of a private network, and what the processes send \
         each other is not encrypted: use a private address or a tunnel; --listen-publicly if you know better"
    )]
    Public {
        /// As in the hosts.
        address: String,
        /// What it stands for.
        ip: std::net::IpAddr,
    },
    /// It cannot listen.
    #[error("process {process} cannot listen at {address}: {error}")]
    Listen {
        /// Its number.
        process: u32,
        /// As in the hosts.
        address: String,
        /// What happened.
        error: std::io::Error,
    },
}

/// Why coming together begins again.
enum Again {
    /// It is not to.
    Stopped,
    /// A process was linked, and went away.
    Lost(u32),
}

/// Between two looks at what is under way.
const NAP: Duration = Duration::from_millis(10);

/// Between two connections to a process that is not there.
const RETRY: Duration = Duration::from_millis(200);

/// A connection is there by then, or not at all.
const CONNECT: Duration = Duration::from_secs(2);

/// An address may still belong to the process that was there before.
const TAKEN_FOR: Duration = Duration::from_secs(10);

impl Member {
    /// Links this process with all others; waits for them as long as it takes. `orders` are process 0's. `None`: stopped
    /// before all were there.
    pub fn gather(&self, orders: Orders, stop: &Stop) -> Result<Option<Links>, ClusterError> {
        let gate = Arc::new(Acceptor::new(self.me.clone()));
        let Some(listener) = self.listener(stop)? else { return Ok(None) };
        gate.listen(listener).map_err(|error| self.cannot_listen(error))?;
        let (sayings, epoch) = (LogThrottle::default(), Epoch::draw());
        loop {
            let gathered = if self.me.process == 0 {
                self.lead(&gate, epoch, orders, stop).map(|links| (links, orders))
            } else {
                self.join(&gate, &sayings, stop)
            };
            match gathered {
                Ok((sockets, orders)) => {
                    tracing::info!("{} processes with {} workers each are linked", self.hosts.len(), self.me.workers);
                    let process = self.me.process as usize;
                    return Ok(Some(Links { process, hosts: self.hosts.clone(), sockets, orders }));
                }
                Err(Again::Stopped) => return Ok(None),
                Err(Again::Lost(process)) => {
                    tracing::info!("process {process} went away before all were there: waits for it again");
                    gate.shut();
                    thread::sleep(RETRY);
                }
            }
        }
    }

    /// Process 0: waits until everybody is ready, and says go.
    fn lead(
        &self,
        gate: &Acceptor,
        epoch: Epoch,
        orders: Orders,
        stop: &Stop,
    ) -> Result<Vec<Option<TcpStream>>, Again> {
        gate.open(epoch);
        let mut asked = Instant::now();
        while !gate.all_ready() {
            pause(stop)?;
            if let Some(lost) = gate.lost() {
                tracing::info!("process {lost} went away before all were there: waits for it again");
            }
            if asked.elapsed() > Duration::from_secs(10) {
                asked = Instant::now();
                if let Some(missing) = gate.missing() {
                    tracing::info!("waits for process {missing}, {}", self.hosts.address(missing));
                } else {
                    tracing::info!("waits until all processes have found each other");
                }
            }
        }
        let links = gate.begin();
        for (process, link) in links.iter().enumerate() {
            let Some(mut link) = link.as_ref() else { continue };
            // Others may have begun: whoever is lost now is lost to all.
            if let Err(error) = link.write_all(Go::new(orders).as_bytes()) {
                tracing::warn!("process {process} was not told to begin: {error}");
            }
        }
        Ok(links)
    }

    /// Every other process: learns the epoch from process 0, links itself with all, says so, and waits for the word.
    fn join(
        &self,
        gate: &Acceptor,
        sayings: &LogThrottle,
        stop: &Stop,
    ) -> Result<(Vec<Option<TcpStream>>, Orders), Again> {
        let mut lower: Vec<TcpStream> = Vec::new();
        let mut epoch = Epoch::ASKED;
        for process in 0..self.me.process {
            let (socket, told) = loop {
                if let Some(linked) = self.connect(process, epoch, sayings) {
                    break linked;
                }
                let tried = Instant::now();
                while tried.elapsed() < RETRY {
                    pause(stop)?;
                }
                if let Some(dead) = lower.iter().position(|socket| !is_alive(socket)) {
                    return Err(Again::Lost(dead as u32));
                }
            };
            lower.push(socket);
            if process == 0 {
                epoch = told;
                gate.open(epoch);
            }
        }
        let mut said = false;
        let orders = loop {
            pause(stop)?;
            if let Some(dead) = lower.iter().position(|socket| !is_alive(socket)) {
                return Err(Again::Lost(dead as u32));
            }
            // A process that comes again is another one than was there when this one said that it was ready.
            if let Some(lost) = gate.lost()
                && said
            {
                return Err(Again::Lost(lost));
            }
            if !said && gate.is_full() {
                (&lower[0]).write_all(&READY).map_err(|_| Again::Lost(0))?;
                said = true;
            }
            if let Some(bytes) = take_if_there::<8>(&lower[0]).map_err(|_| Again::Lost(0))? {
                let orders = Go::read_from_bytes(&bytes).ok().and_then(Go::orders).filter(|_| said);
                break orders.ok_or(Again::Lost(0))?;
            }
        };
        let mut links = gate.begin();
        for (place, socket) in links.iter_mut().zip(lower) {
            *place = Some(socket);
        }
        Ok((links, orders))
    }

    /// Links this process with one of a lower number; `None`, and the reason in the log, if that fails for now.
    fn connect(&self, process: u32, epoch: Epoch, sayings: &LogThrottle) -> Option<(TcpStream, Epoch)> {
        let address = self.hosts.address(process as usize);
        let connected = (|| -> std::io::Result<TcpStream> {
            let mut last = std::io::ErrorKind::NotFound.into();
            for address in address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECT) {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })();
        let why = match connected {
            Ok(socket) => {
                let shaken = handshake::connect(&mut Until::new(&socket, handshake::TIME), &self.me, process, epoch);
                match shaken.and_then(|epoch| settle(&socket).map(|()| epoch).map_err(|_| HandshakeError::Closed)) {
                    Ok(epoch) => return Some((socket, epoch)),
                    Err(refusal) if refusal.is_usual() => return None,
                    Err(refusal) => refusal.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        if let Some(more) = sayings.may_say(format!("{process} {why}"), SAID_EVERY) {
            tracing::info!("waits for process {process} at {address}: {why}{more}");
        }
        None
    }

    /// Listens at this process's own address and nowhere else. `None`: stopped.
    fn listener(&self, stop: &Stop) -> Result<Option<TcpListener>, ClusterError> {
        let address = self.hosts.address(self.me.process as usize);
        let (began, mut said) = (Instant::now(), false);
        loop {
            if stop.is_set() {
                return Ok(None);
            }
            let error = match address.to_socket_addrs() {
                Ok(found) => {
                    let found: Vec<SocketAddr> = found.collect();
                    if let Some(public) = found.iter().find(|found| !self.publicly && !is_private(found.ip())) {
                        return Err(ClusterError::Public { address: address.to_owned(), ip: public.ip() });
                    }
                    match TcpListener::bind(&found[..]) {
                        Ok(listener) => return Ok(Some(listener)),
                        Err(error) if began.elapsed() > TAKEN_FOR => return Err(self.cannot_listen(error)),
                        Err(error) => error,
                    }
                }
                // The name of a pod is known some time after the pod has started.
                Err(error) if began.elapsed() > 6 * TAKEN_FOR => return Err(self.cannot_listen(error)),
                Err(error) => error,
            };
            if !std::mem::replace(&mut said, true) {
                tracing::info!("cannot listen at {address} yet: {error}");
            }
            thread::sleep(RETRY);
        }
    }

    fn cannot_listen(&self, error: std::io::Error) -> ClusterError {
        let process = self.me.process;
        ClusterError::Listen { process, address: self.hosts.address(process as usize).to_owned(), error }
    }
}

fn pause(stop: &Stop) -> Result<(), Again> {
    if stop.is_set() {
        return Err(Again::Stopped);
    }
    thread::sleep(NAP);
    Ok(())
}

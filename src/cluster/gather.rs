//! Links the processes of a cluster before a run.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use zerocopy::{FromBytes, IntoBytes};

use super::acceptor::Acceptor;
use super::error::{HandshakeError, LOG_INTERVAL, LogThrottle};
use super::frames::{Epoch, Go, READY};
use super::handshake::{self, Deadline};
use super::hosts::{Hosts, is_private};
use super::identity::Identity;
use super::links::{GraphOptions, Links, configure, is_alive, take_if_there};
use crate::failure::Failure;
use crate::stop::Stop;

/// One process of a cluster, before it is linked.
#[derive(Debug)]
pub struct Member {
    /// Addresses of all processes.
    pub hosts: Hosts,
    /// Identity of this process.
    pub me: Identity,
    /// Whether it may listen on a public address.
    pub listen_publicly: bool,
}

/// Why an attempt to link all processes ended.
enum Interrupted {
    /// The run was stopped.
    Stopped,
    /// A linked process was lost: the attempt is repeated.
    Lost(u32),
}

/// Interval at which the state of the links is polled.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Interval between two attempts to connect or to listen.
const RETRY_EVERY: Duration = Duration::from_millis(200);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long binding an address is retried: the previous process may still have it.
const BIND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long resolving the own address is retried: the name of a pod resolves some time after the pod has started.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(60);

impl Member {
    /// Links this process with all others. Waits without a limit until they are started. `options` are used by process 0.
    /// `None`: the run was stopped before all were linked.
    pub fn gather(&self, options: GraphOptions, stop: &Stop) -> Result<Option<Links>, Failure> {
        let acceptor = Arc::new(Acceptor::new(self.me.clone()));
        let Some(listener) = self.listener(stop)? else { return Ok(None) };
        acceptor.listen(listener).map_err(|error| self.cannot_listen(error))?;
        let (throttle, epoch) = (LogThrottle::default(), Epoch::draw());
        loop {
            let gathered = if self.me.process == 0 {
                self.lead(&acceptor, epoch, options, stop).map(|links| (links, options))
            } else {
                self.join(&acceptor, &throttle, stop)
            };
            match gathered {
                Ok((sockets, options)) => {
                    tracing::info!(processes = self.hosts.len(), workers = self.me.workers, "all processes are linked");
                    let process = self.me.process as usize;
                    return Ok(Some(Links { process, hosts: self.hosts.clone(), sockets, options }));
                }
                Err(Interrupted::Stopped) => return Ok(None),
                Err(Interrupted::Lost(process)) => {
                    tracing::info!(process, "lost a process before the start, waiting for it");
                    acceptor.close();
                    thread::sleep(RETRY_EVERY);
                }
            }
        }
    }

    /// Process 0: waits until all processes are ready, and starts the run.
    fn lead(
        &self,
        acceptor: &Acceptor,
        epoch: Epoch,
        options: GraphOptions,
        stop: &Stop,
    ) -> Result<Vec<Option<TcpStream>>, Interrupted> {
        acceptor.open(epoch);
        let mut logged = Instant::now();
        while !acceptor.all_ready() {
            pause(stop)?;
            if let Some(process) = acceptor.take_lost() {
                tracing::info!(process, "lost a process before the start, waiting for it");
            }
            if logged.elapsed() > LOG_INTERVAL {
                logged = Instant::now();
                if let Some(process) = acceptor.missing() {
                    tracing::info!(process, address = self.hosts.address(process), "waiting for a process");
                } else {
                    tracing::info!("waiting until all processes have linked each other");
                }
            }
        }
        let links = acceptor.start();
        for (process, link) in links.iter().enumerate() {
            let Some(mut link) = link.as_ref() else { continue };
            // Others may have started already, so a failure here cannot repeat the attempt: it is a loss in the run.
            if let Err(error) = link.write_all(Go::new(options).as_bytes()) {
                tracing::warn!(process, %error, "cannot start a process");
            }
        }
        Ok(links)
    }

    /// Any other process: gets the epoch from process 0, links itself with all, reports that it is ready, and waits for the
    /// start.
    fn join(
        &self,
        acceptor: &Acceptor,
        throttle: &LogThrottle,
        stop: &Stop,
    ) -> Result<(Vec<Option<TcpStream>>, GraphOptions), Interrupted> {
        let mut lower: Vec<TcpStream> = Vec::new();
        let mut epoch = Epoch::UNKNOWN;
        for process in 0..self.me.process {
            let (socket, answered) = loop {
                if let Some(linked) = self.connect(process, epoch, throttle) {
                    break linked;
                }
                let tried = Instant::now();
                while tried.elapsed() < RETRY_EVERY {
                    pause(stop)?;
                }
                check_alive(&lower)?;
            };
            lower.push(socket);
            if process == 0 {
                epoch = answered;
                acceptor.open(epoch);
            }
        }
        let mut is_ready = false;
        let options = loop {
            pause(stop)?;
            check_alive(&lower)?;
            // A process that links again is not the one that was there when this one reported that it was ready.
            if let Some(lost) = acceptor.take_lost()
                && is_ready
            {
                return Err(Interrupted::Lost(lost));
            }
            if !is_ready && acceptor.missing().is_none() {
                (&lower[0]).write_all(&READY).map_err(|_| Interrupted::Lost(0))?;
                is_ready = true;
            }
            if let Some(bytes) = take_if_there::<8>(&lower[0]).map_err(|_| Interrupted::Lost(0))? {
                let options = Go::read_from_bytes(&bytes).ok().and_then(Go::options).filter(|_| is_ready);
                break options.ok_or(Interrupted::Lost(0))?;
            }
        };
        let mut links = acceptor.start();
        for (slot, socket) in links.iter_mut().zip(lower) {
            *slot = Some(socket);
        }
        Ok((links, options))
    }

    /// Links this process with one of a lower number. `None`: it failed, the reason is logged, and a retry may succeed.
    fn connect(&self, process: u32, epoch: Epoch, throttle: &LogThrottle) -> Option<(TcpStream, Epoch)> {
        let address = self.hosts.address(process as usize);
        let error = match connect_any(address) {
            Ok(socket) => {
                let mut stream = Deadline::new(&socket, handshake::TIMEOUT);
                let linked = handshake::connect(&mut stream, &self.me, process, epoch);
                match linked.and_then(|epoch| configure(&socket).map(|()| epoch).map_err(|_| HandshakeError::Closed)) {
                    Ok(epoch) => return Some((socket, epoch)),
                    Err(error) if error.is_expected() => return None,
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        if let Some(suppressed) = throttle.admit(format!("{process} {error}"), LOG_INTERVAL) {
            tracing::info!(process, address, error, suppressed, "waiting for a process");
        }
        None
    }

    /// Listens on the address of this process and no other. `None`: the run was stopped.
    fn listener(&self, stop: &Stop) -> Result<Option<TcpListener>, Failure> {
        let address = self.hosts.address(self.me.process as usize);
        let (started, mut is_logged) = (Instant::now(), false);
        loop {
            if stop.is_set() {
                return Ok(None);
            }
            let error = match address.to_socket_addrs() {
                Ok(found) => {
                    let found: Vec<SocketAddr> = found.collect();
                    if let Some(public) = found.iter().find(|found| !self.listen_publicly && !is_private(found.ip())) {
                        return Err(Failure::Usage(anyhow!(
                            "{address} ({}) is neither a loopback address nor one of a private network, and the traffic \
                             between processes is not encrypted: use a private address or a tunnel, or allow it with \
                             --listen-publicly",
                            public.ip()
                        )));
                    }
                    match TcpListener::bind(&found[..]) {
                        Ok(listener) => return Ok(Some(listener)),
                        Err(error) if started.elapsed() > BIND_TIMEOUT => return Err(self.cannot_listen(error)),
                        Err(error) => error,
                    }
                }
                Err(error) if started.elapsed() > RESOLVE_TIMEOUT => return Err(self.cannot_listen(error)),
                Err(error) => error,
            };
            if !std::mem::replace(&mut is_logged, true) {
                tracing::info!(address, %error, "cannot listen at the address yet, retrying");
            }
            thread::sleep(RETRY_EVERY);
        }
    }

    fn cannot_listen(&self, error: std::io::Error) -> Failure {
        let process = self.me.process;
        let address = self.hosts.address(process as usize);
        Failure::Running(anyhow::Error::new(error).context(format!("process {process} cannot listen at {address}")))
    }
}

/// Fails if the link to a process with a lower number is dead. `links`: by process.
fn check_alive(links: &[TcpStream]) -> Result<(), Interrupted> {
    let dead = links.iter().position(|socket| !is_alive(socket));
    dead.map_or(Ok(()), |process| Err(Interrupted::Lost(process as u32)))
}

/// Connects to the first address that accepts.
fn connect_any(address: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::ErrorKind::NotFound.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn pause(stop: &Stop) -> Result<(), Interrupted> {
    if stop.is_set() {
        return Err(Interrupted::Stopped);
    }
    thread::sleep(POLL_EVERY);
    Ok(())
}

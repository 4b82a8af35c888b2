//! Links the processes of a cluster before a run.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use connectors::{LOG_INTERVAL, LogThrottle};

use super::acceptor::Acceptor;
use super::channel::{Channel, Damaged};
use super::error::HandshakeError;
use super::frames::{Epoch, Go, Protection, READY};
use super::handshake::{self, Deadline};
use super::hosts::{Hosts, is_private};
use super::identity::Identity;
use super::links::{Broken, GraphOptions, Link, Links};
use super::stream::{IDLE_INTERVAL, LinkStream};
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
    /// What arrived from a process was altered on the way, and whether the others have started is unknown.
    Damaged(u32),
}

/// Kind of a failure to link a process.
type ConnectFailure = (u32, &'static str);

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
                Ok((links, options)) => {
                    tracing::info!(processes = self.hosts.len(), workers = self.me.workers, "all processes are linked");
                    return self.links(links, options).map(Some);
                }
                Err(Interrupted::Stopped) => return Ok(None),
                Err(Interrupted::Lost(process)) => {
                    tracing::info!(process, "lost a process before the start, waiting for it");
                    acceptor.close();
                    thread::sleep(RETRY_EVERY);
                }
                Err(Interrupted::Damaged(process)) => {
                    let address = self.hosts.address(process as usize);
                    return Err(Failure::Cluster(anyhow!(
                        "process {process}, {address}, is lost ({Damaged}): all processes stop; start all of them again"
                    )));
                }
            }
        }
    }

    /// The links as timely uses them.
    fn links(&self, links: Vec<Option<Link>>, options: GraphOptions) -> Result<Links, Failure> {
        let stream = |(process, link): (usize, Option<Link>)| {
            let Some(Link { socket, channel, .. }) = link else { return Ok(None) };
            let channel = match self.me.protection {
                Protection::Encrypted => channel,
                Protection::Plain => Channel::plain(),
            };
            LinkStream::new(process, socket, channel).map(Some)
        };
        let streams = links.into_iter().enumerate().map(stream).collect::<std::io::Result<_>>();
        let streams = streams.context("cannot use the links to the other processes").map_err(Failure::Running)?;
        Ok(Links { process: self.me.process as usize, hosts: self.hosts.clone(), options, streams })
    }

    /// Process 0: waits until all processes are ready, and starts the run.
    fn lead(
        &self,
        acceptor: &Acceptor,
        epoch: Epoch,
        options: GraphOptions,
        stop: &Stop,
    ) -> Result<Vec<Option<Link>>, Interrupted> {
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
        let mut links = acceptor.start();
        for (process, link) in links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            // Others may have started already, so a failure here cannot repeat the attempt: it is a loss in the run.
            if let Err(error) = link.send(Go::new(options).bytes()) {
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
        throttle: &LogThrottle<ConnectFailure>,
        stop: &Stop,
    ) -> Result<(Vec<Option<Link>>, GraphOptions), Interrupted> {
        let mut lower: Vec<Link> = Vec::new();
        let mut epoch = Epoch::UNKNOWN;
        for process in 0..self.me.process {
            let (link, answered) = loop {
                if let Some(linked) = self.connect(process, epoch, throttle) {
                    break linked;
                }
                let tried = Instant::now();
                while tried.elapsed() < RETRY_EVERY {
                    pause(stop)?;
                }
                check_alive(&lower)?;
            };
            lower.push(link);
            if process == 0 {
                epoch = answered;
                acceptor.open(epoch);
            }
        }
        let (mut is_ready, mut idle) = (false, Instant::now());
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
                lower[0].send(READY).map_err(|_| Interrupted::Lost(0))?;
                is_ready = true;
            }
            // Process 0 could not tell a swallowed READY from one that is still to come.
            if is_ready && idle.elapsed() > IDLE_INTERVAL {
                idle = Instant::now();
                lower[0].send_idle().map_err(|_| Interrupted::Lost(0))?;
            }
            match lower[0].receive() {
                Ok(None) => {}
                Ok(Some(bytes)) => break Go::options(bytes).filter(|_| is_ready).ok_or(Interrupted::Damaged(0))?,
                Err(Broken::Closed) => return Err(Interrupted::Lost(0)),
                Err(Broken::Damaged) => return Err(Interrupted::Damaged(0)),
            }
        };
        let mut links = acceptor.start();
        for (slot, link) in links.iter_mut().zip(lower) {
            *slot = Some(link);
        }
        Ok((links, options))
    }

    /// Links this process with one of a lower number. `None`: it failed, the reason is logged, and a retry may succeed.
    fn connect(&self, process: u32, epoch: Epoch, throttle: &LogThrottle<ConnectFailure>) -> Option<(Link, Epoch)> {
        let address = self.hosts.address(process as usize);
        let error = match connect_any(address) {
            Ok(socket) => {
                let mut stream = Deadline::new(&socket, handshake::TIMEOUT);
                let linked = handshake::connect(&mut stream, &self.me, process, epoch);
                let linked = linked.and_then(|(epoch, channel)| {
                    let link = Link::new(socket, channel).map_err(|_| HandshakeError::Closed)?;
                    Ok((link, epoch))
                });
                match linked {
                    Ok(linked) => return Some(linked),
                    Err(error) if error.is_expected() => return None,
                    Err(error) => (error.kind(), error.to_string()),
                }
            }
            Err(error) => ("connect", error.to_string()),
        };
        let (kind, error) = error;
        if let Some(suppressed) = throttle.admit((process, kind)) {
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
                            "{address} ({}) is neither a loopback address nor one of a private network: use a private \
                             address or a tunnel, or allow it with --listen-publicly and let a firewall admit the other \
                             processes only",
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
fn check_alive(links: &[Link]) -> Result<(), Interrupted> {
    let dead = links.iter().position(|link| !link.is_alive());
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

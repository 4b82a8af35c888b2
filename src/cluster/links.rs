//! Links between processes: their socket options, their use before the run, and how timely gets them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dataflows::config::Outputs;
use socket2::{SockRef, TcpKeepalive};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::channel::{Channel, Damaged, Header, wire_length};
use super::hosts::Hosts;
use super::loss::LossReporter;
use super::stream::LinkStream;

/// Options of the graph that process 0 sends to the others, as all must build the same graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphOptions {
    /// Whether the run resumes: the graph then has another input.
    pub resumes: bool,
    /// Whether the graph has a catalogue, which also is another input.
    pub catalogue: bool,
    /// Whether the graph takes controls of users, another input too.
    pub controls: bool,
    /// Optional outputs.
    pub outputs: Outputs,
}

/// The links of one process to all others. It exists once all processes are ready.
#[derive(Debug)]
pub struct Links {
    /// Number of this process.
    pub process: usize,
    /// Addresses of all processes.
    pub hosts: Hosts,
    /// Options that process 0 sent.
    pub options: GraphOptions,
    /// Links by process. `None`: this process.
    pub(super) streams: Vec<Option<LinkStream>>,
}

impl Links {
    /// Number of processes.
    pub fn processes(&self) -> usize {
        self.streams.len()
    }

    /// Builders for the workers of this process, and a guard to keep as long as they run. From here on the loss of one process
    /// ends all: `reporter` hears of the first.
    pub fn into_workers(
        mut self,
        workers: usize,
        reporter: &LossReporter,
    ) -> io::Result<(Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>)> {
        self.streams.iter_mut().flatten().for_each(|stream| stream.report_to(reporter.clone()));
        let hooks = Hooks::default();
        let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) = initialize_networking_from_sockets(local, self.streams, self.process, workers, hooks)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
    }
}

/// A link to a process, before the run starts.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: TcpStream,
    pub(super) channel: Channel,
    /// Whether the process has all its links. Only process 0 is told.
    pub(super) ready: bool,
    /// Length on the wire of the payload that comes next, after its header.
    next: Option<usize>,
    /// When the rest of a header or a payload was first waited for.
    incomplete: Option<Instant>,
}

/// Longest time from the first byte of a header or a payload to its last.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a link failed before the run.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other end closed it, or its machine is gone.
    Closed,
    /// What arrived is not what the other end sent.
    Damaged,
}

impl Link {
    /// Sets the options of a socket whose handshake has succeeded.
    pub(super) fn new(socket: TcpStream, channel: Channel) -> io::Result<Self> {
        configure(&socket)?;
        Ok(Link { socket, channel, ready: false, next: None, incomplete: None })
    }

    pub(super) fn send(&mut self, message: [u8; 8]) -> io::Result<()> {
        (&self.socket).write_all(&self.channel.seal(&message))
    }

    /// Tells the other end that this one lives. It notices then if something before was swallowed.
    pub(super) fn send_idle(&mut self) -> io::Result<()> {
        let mut wire = Vec::new();
        self.channel.sealer.idle(&mut wire);
        (&self.socket).write_all(&wire)
    }

    /// The next message, if all of it has arrived. Takes no byte of what comes after it.
    pub(super) fn receive(&mut self) -> Result<Option<[u8; 8]>, Broken> {
        let opener = &mut self.channel.opener;
        loop {
            let mut wire = [0; wire_length(8)];
            let wire = &mut wire[..self.next.unwrap_or_else(|| opener.header_length())];
            match without_blocking(&self.socket, |socket| socket.peek(wire)) {
                Ok(0) if self.next.is_none() => return Err(Broken::Closed),
                Ok(0) => return Err(Broken::Damaged),
                Ok(length) if length == wire.len() => {}
                // The rest of what has arrived may never come: a peek does not see the end behind it.
                Ok(_) if self.incomplete.get_or_insert_with(Instant::now).elapsed() > MESSAGE_TIMEOUT => {
                    return Err(Broken::Damaged);
                }
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.next.is_none() => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let since = self.incomplete.get_or_insert_with(Instant::now);
                    return if since.elapsed() > MESSAGE_TIMEOUT { Err(Broken::Damaged) } else { Ok(None) };
                }
                Err(_) => return Err(Broken::Closed),
            }
            (&self.socket).read_exact(wire).map_err(|_| Broken::Closed)?;
            self.incomplete = None;
            if self.next.take().is_some() {
                let mut message = [0; wire_length(8)];
                let length = opener.payload(wire, &mut message).map_err(|Damaged| Broken::Damaged)?;
                return message[..length].try_into().map(Some).map_err(|_| Broken::Damaged);
            }
            match opener.header(wire).map_err(|Damaged| Broken::Damaged)? {
                Header::Idle => {}
                Header::Payload(length) if length == wire_length(8) - opener.header_length() => {
                    self.next = Some(length);
                }
                Header::Payload(_) | Header::End => return Err(Broken::Damaged),
            }
        }
    }

    /// Whether the connection is not closed, as far as this end knows. Reads nothing.
    pub(super) fn is_alive(&self) -> bool {
        match without_blocking(&self.socket, |socket| socket.peek(&mut [0])) {
            Ok(length) => length > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// A peer that neither sends nor acknowledges anything for so long is lost: its machine or the network has failed. The death
/// of a process alone is noticed at once, by the closed connection.
const PEER_TIMEOUT: Duration = Duration::from_secs(8);

/// Sets the socket options that a link has from the handshake to its end.
fn configure(socket: &TcpStream) -> io::Result<()> {
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    // Workers wait for small progress messages.
    socket.set_nodelay(true)?;
    let every = PEER_TIMEOUT / 4;
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    let keepalive = keepalive.with_retries(3);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    // Keepalive probes only idle links; this option covers data that is sent and not acknowledged.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
    Ok(())
}

fn without_blocking<R>(socket: &TcpStream, peek: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
    socket.set_nonblocking(true)?;
    let result = peek(socket);
    socket.set_nonblocking(false)?;
    result
}

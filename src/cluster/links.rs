//! Links between processes: their socket options, their use before the run, and how timely gets them.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use dataflows::config::Outputs;
use socket2::{SockRef, TcpKeepalive};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::hosts::Hosts;

/// Options of the graph that process 0 sends to the others, as all must build the same graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphOptions {
    /// Whether the run resumes: the graph then has another input.
    pub resumes: bool,
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
    /// Sockets by process. `None`: this process.
    pub(super) sockets: Vec<Option<TcpStream>>,
}

impl Links {
    /// Number of processes.
    pub fn processes(&self) -> usize {
        self.sockets.len()
    }

    /// Builders for the workers of this process, and a guard to keep as long as they run. From here on the loss of one process
    /// ends all: listen for a [`Loss`](super::Loss) before.
    pub fn into_workers(self, workers: usize) -> io::Result<(Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>)> {
        let hooks = Hooks::default();
        let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) = initialize_networking_from_sockets(local, self.sockets, self.process, workers, hooks)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
    }
}

/// A link to a process with a higher number, before the run starts.
pub(super) struct Link {
    pub(super) socket: TcpStream,
    /// Whether the process has all its links.
    pub(super) ready: bool,
}

/// A peer that neither sends nor acknowledges anything for so long is lost: its machine or the network has failed. The death
/// of a process alone is noticed at once, by the closed connection.
const PEER_TIMEOUT: Duration = Duration::from_secs(8);

/// Sets the socket options that a link has from the handshake to its end.
pub(super) fn configure(socket: &TcpStream) -> io::Result<()> {
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

/// Whether the connection is not closed, as far as this end knows. Reads nothing.
pub(super) fn is_alive(socket: &TcpStream) -> bool {
    match without_blocking(socket, |socket| socket.peek(&mut [0])) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// The next `N` bytes, if all have arrived. Fails if the link is dead.
pub(super) fn take_if_there<const N: usize>(socket: &TcpStream) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match without_blocking(socket, |socket| socket.peek(&mut bytes)) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(length) if length < N => Ok(None),
        Ok(_) => (&mut &*socket).read_exact(&mut bytes).map(|()| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn without_blocking<R>(socket: &TcpStream, peek: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
    socket.set_nonblocking(true)?;
    let result = peek(socket);
    socket.set_nonblocking(false)?;
    result
}

//! Links that are made: what is asked of them until timely has them, and how it gets them.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::hosts::Hosts;

/// What process 0 tells the others when the run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Whether the run goes on where another one ended: the graph has an input more then.
    pub resumes: bool,
    /// Whether similar items are told beside the lists; all must build the same graph.
    pub similar_items: bool,
    /// The same of similar users.
    pub similar_users: bool,
}

/// The links of one process to all others, when all processes have all of theirs.
#[derive(Debug)]
pub struct Links {
    pub(super) process: usize,
    pub(super) hosts: Hosts,
    /// By process; none to itself.
    pub(super) sockets: Vec<Option<TcpStream>>,
    pub(super) orders: Orders,
}

impl Links {
    /// This process's number.
    pub fn process(&self) -> usize {
        self.process
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.sockets.len()
    }

    /// Where they are.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// What process 0 said.
    pub fn orders(&self) -> Orders {
        self.orders
    }

    /// What timely makes so many workers of, and what must be kept for as long as they run. From here on all processes
    /// live and die together: whoever is told of losses by [`Loss`](super::Loss) should listen before.
    pub fn into_workers(self, workers: usize) -> io::Result<(Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>)> {
        let hooks = Hooks::default();
        let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) = initialize_networking_from_sockets(local, self.sockets, self.process, workers, hooks)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
    }
}

/// A link to a process with a higher number, before the run.
pub(super) struct Link {
    pub(super) socket: TcpStream,
    pub(super) process: u32,
    /// It has all of its own links.
    pub(super) ready: bool,
}

impl Link {
    pub(super) fn new(socket: TcpStream, process: u32) -> io::Result<Self> {
        settle(&socket)?;
        Ok(Link { socket, process, ready: false })
    }
}

/// A peer that neither says anything nor acknowledges anything for so long is lost: its machine, or the way to it. (A
/// process that dies is noticed at once.)
const PATIENCE: Duration = Duration::from_secs(8);

/// Sets a link up for its life.
pub(super) fn settle(socket: &TcpStream) -> io::Result<()> {
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    // Small messages of progress are what everybody waits for.
    socket.set_nodelay(true)?;
    let every = PATIENCE / 4;
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    let keepalive = keepalive.with_retries(3);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    // Keepalive is for silent links; this is for what was sent and is not acknowledged.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(PATIENCE))?;
    Ok(())
}

/// Whether the other end has not hung up, as far as this end knows. Leaves alone what has come.
pub(super) fn is_alive(socket: &TcpStream) -> bool {
    match unblocked(socket, |socket| socket.peek(&mut [0])) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// The next `N` bytes, if they are all there. An error if the link is dead.
pub(super) fn take_if_there<const N: usize>(socket: &TcpStream) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match unblocked(socket, |socket| socket.peek(&mut bytes)) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(length) if length < N => Ok(None),
        Ok(_) => (&mut &*socket).read_exact(&mut bytes).map(|()| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn unblocked<R>(socket: &TcpStream, look: impl FnOnce(&TcpStream) -> io::Result<R>) -> io::Result<R> {
    socket.set_nonblocking(true)?;
    let seen = look(socket);
    socket.set_nonblocking(false)?;
    seen
}

//! The stream that timely reads and writes: the records of a link, without a thread in between.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use timely::communication::allocator::zero_copy::stream::Stream;

use super::channel::{Channel, Damaged, Header, MAX_PAYLOAD, Opener, Sealer};
use super::loss::{Loss, LossReporter};

/// Interval at which a link says that its end lives, if nothing else is sent.
pub(super) const IDLE_INTERVAL: Duration = Duration::from_secs(5);

/// A link on which nothing arrives for so long is lost. Its connection may still be acknowledged, by a proxy that passes
/// nothing on or by the kernel of a process that is stopped.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest time from the first byte of a header or a payload to its last. If bytes of it were swallowed, idle records would complete it only
/// after hours.
const RECORD_TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes that one write sends. Timely writes 64 KiB, or one large message.
const MAX_WRITE: usize = 8 * MAX_PAYLOAD;

/// Both directions of the link to one process, once all processes are ready. Sends idle records as long as a handle exists.
pub struct LinkStream {
    state: Arc<State>,
    reporter: Option<LossReporter>,
}

struct State {
    /// Number of the process at the other end.
    process: usize,
    socket: TcpStream,
    writer: Mutex<Writer>,
    /// Only one thread reads; the lock is never waited for.
    reader: Mutex<Reader>,
}

struct Writer {
    sealer: Sealer,
    wire: Vec<u8>,
    written: Instant,
    has_ended: bool,
}

struct Reader {
    opener: Opener,
    /// Bytes that arrived. Those from `start` to `end` are not opened yet.
    wire: Vec<u8>,
    start: usize,
    end: usize,
    /// Length on the wire of the payload that comes next, after its header.
    next: Option<usize>,
    /// When the rest of a header or a payload was first waited for.
    incomplete: Option<Instant>,
    /// A payload that did not fit where it was wanted, and what of it is still to be read.
    payload: Vec<u8>,
    unread: std::ops::Range<usize>,
    has_ended: bool,
}

/// What is wrong with a link. The messages describe its other end.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(
        "{0}, and was not used: look for a faulty network device or a proxy between the machines, or for somebody who alters \
         the traffic"
    )]
    Damaged(#[from] Damaged),
    #[error("it closed the connection")]
    Closed,
    #[error("the connection was cut in the middle of a record")]
    Cut,
    #[error("nothing has arrived from it for {} s: it is stopped or overloaded, or the network drops its packets", SILENCE.as_secs())]
    Silent,
    #[error("what it has sent does not arrive completely: the network, or something in it, drops a part")]
    Incomplete,
    #[error("{0}")]
    Socket(io::Error),
}

impl LinkStream {
    /// Takes over a link to a process.
    pub(super) fn new(process: usize, socket: TcpStream, channel: Channel) -> io::Result<Self> {
        let Channel { sealer, opener } = channel;
        let writer = Writer { sealer, wire: Vec::new(), written: Instant::now(), has_ended: false };
        let reader = Reader {
            opener,
            wire: vec![0; 4 * MAX_PAYLOAD],
            start: 0,
            end: 0,
            next: None,
            incomplete: None,
            payload: vec![0; 2 * MAX_PAYLOAD],
            unread: 0..0,
            has_ended: false,
        };
        socket.set_read_timeout(Some(SILENCE))?;
        let state = Arc::new(State { process, socket, writer: Mutex::new(writer), reader: Mutex::new(reader) });
        let weak = Arc::downgrade(&state);
        thread::Builder::new().name(format!("idle-{process}")).spawn(move || send_idle_records(&weak))?;
        Ok(LinkStream { state, reporter: None })
    }

    /// Reports the first failure of the link, before timely's thread panics over it.
    pub(super) fn report_to(&mut self, reporter: LossReporter) {
        self.reporter = Some(reporter);
    }

    /// Reports that the other end has closed the link in order.
    fn report_end(&self) {
        if let Some(reporter) = &self.reporter {
            let what = String::from("it has ended without a reason");
            reporter.report(Loss { process: self.state.process, what, is_closed: true });
        }
    }

    fn failed(&self, error: &LinkError) -> io::Error {
        let what = error.to_string();
        if let Some(reporter) = &self.reporter {
            reporter.report(Loss { process: self.state.process, what: what.clone(), is_closed: false });
        }
        io::Error::other(what)
    }
}

/// Without these records a receiver could not tell an idle link from one on which bytes were swallowed.
fn send_idle_records(state: &Weak<State>) {
    loop {
        thread::sleep(IDLE_INTERVAL / 2);
        let Some(state) = state.upgrade() else { return };
        // A writer that is busy, or that waits for the other end, has something to send.
        let Ok(mut writer) = state.writer.try_lock() else { continue };
        if writer.has_ended {
            return;
        }
        if writer.written.elapsed() >= IDLE_INTERVAL / 2
            // The threads that read and write report the failure.
            && writer.send(&state.socket, Sealer::idle).is_err()
        {
            return;
        }
    }
}

impl Writer {
    fn send(&mut self, mut socket: &TcpStream, seal: impl FnOnce(&mut Sealer, &mut Vec<u8>)) -> io::Result<()> {
        self.wire.clear();
        seal(&mut self.sealer, &mut self.wire);
        self.written = Instant::now();
        socket.write_all(&self.wire)
    }
}

impl Reader {
    /// Opens the records that have arrived, as long as they fit into `out`. 0: none is complete.
    fn open(&mut self, out: &mut [u8]) -> Result<usize, Damaged> {
        let mut filled = self.take_unread(out);
        while filled < out.len() && !self.has_ended {
            let length = self.next.unwrap_or_else(|| self.opener.header_length());
            if self.end - self.start < length {
                break;
            }
            self.incomplete = None;
            let part = &self.wire[self.start..self.start + length];
            self.start += length;
            let rest = &mut out[filled..];
            match self.next.take() {
                None => match self.opener.header(part)? {
                    Header::Payload(length) => self.next = Some(length),
                    Header::Idle => {}
                    Header::End => self.has_ended = true,
                },
                Some(_) if rest.len() >= length => filled += self.opener.payload(part, rest)?,
                Some(_) => {
                    let length = self.opener.payload(part, &mut self.payload)?;
                    self.unread = 0..length;
                    filled += self.take_unread(rest);
                }
            }
        }
        Ok(filled)
    }

    fn take_unread(&mut self, out: &mut [u8]) -> usize {
        let length = self.unread.len().min(out.len());
        out[..length].copy_from_slice(&self.payload[self.unread.start..self.unread.start + length]);
        self.unread.start += length;
        length
    }

    /// Waits for more bytes.
    fn fill(&mut self, mut socket: &TcpStream) -> Result<(), LinkError> {
        if self.start < self.end || self.next.is_some() {
            let since = self.incomplete.get_or_insert_with(Instant::now);
            if since.elapsed() > RECORD_TIMEOUT {
                return Err(LinkError::Incomplete);
            }
        }
        self.wire.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let read = loop {
            match socket.read(&mut self.wire[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // `TimedOut` is another error: the system has given up the connection.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(LinkError::Silent),
                read => break read.map_err(LinkError::Socket)?,
            }
        };
        self.end += read;
        match read {
            0 if self.end == 0 && self.next.is_none() => Err(LinkError::Closed),
            0 => Err(LinkError::Cut),
            _ => Ok(()),
        }
    }
}

impl Read for LinkStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut reader = locked(&self.state.reader);
        while !out.is_empty() {
            match reader.open(out) {
                Ok(0) if reader.has_ended => {
                    self.report_end();
                    break;
                }
                Ok(0) => reader.fill(&self.state.socket).map_err(|error| self.failed(&error))?,
                Ok(length) => return Ok(length),
                Err(error) => return Err(self.failed(&error.into())),
            }
        }
        Ok(0)
    }
}

impl Write for LinkStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(MAX_WRITE)];
        let mut writer = locked(&self.state.writer);
        let sent = writer.send(&self.state.socket, |sealer, wire| sealer.payload(bytes, wire));
        sent.map(|()| bytes.len()).map_err(|error| self.failed(&LinkError::Socket(error)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for LinkStream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(LinkStream { state: Arc::clone(&self.state), reporter: self.reporter.clone() })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.state.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            let mut writer = locked(&self.state.writer);
            if !std::mem::replace(&mut writer.has_ended, true) {
                writer.send(&self.state.socket, Sealer::end)?;
            }
        }
        self.state.socket.shutdown(how)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for LinkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkStream to process {}", self.state.process)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::super::channel::tests::pair;
    use super::*;

    fn sockets() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        [connected, listener.accept().unwrap().0]
    }

    /// What a stream reads until its end, or until its failure, in pieces of this size, and the reason it reports.
    fn read_all(mut stream: LinkStream, piece: usize) -> (Vec<u8>, Option<String>) {
        let reported: Arc<Mutex<Option<String>>> = Arc::default();
        let report = Arc::clone(&reported);
        stream.reporter = Some(LossReporter::new(move |loss: Loss| {
            if !loss.is_closed {
                *report.lock().unwrap() = Some(loss.what);
            }
        }));
        let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
        let failed = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break false,
                Ok(length) => all.extend_from_slice(&buffer[..length]),
                Err(_) => break true,
            }
        };
        let reported = reported.lock().unwrap().clone();
        assert_eq!(failed, reported.is_some(), "each failure is reported");
        (all, reported)
    }

    /// The bytes of these writes, then of the end.
    fn sealed(sealer: &mut Sealer, writes: &[Vec<u8>]) -> Vec<u8> {
        let mut wire = Vec::new();
        for bytes in writes {
            sealer.payload(bytes, &mut wire);
            sealer.idle(&mut wire);
        }
        sealer.end(&mut wire);
        wire
    }

    /// Sends bytes as they are, and reads them as records of the other end.
    fn received(wire: Vec<u8>, opener: Channel, piece: usize) -> (Vec<u8>, Option<String>) {
        let [mut sender, receiver] = sockets();
        let sending = thread::spawn(move || sender.write_all(&wire));
        let stream = LinkStream::new(1, receiver, opener).unwrap();
        let found = read_all(stream, piece);
        // The receiver closes its end at the first mistake.
        sending.join().unwrap().unwrap_or_default();
        found
    }

    fn writes() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let write = (any::<u8>(), prop_oneof![4 => 1..400_usize, 1 => 30_000..70_000_usize]);
        prop::collection::vec(write.prop_map(|(byte, length)| vec![byte; length]), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(writes in writes(), piece in prop_oneof![1..50_usize, 10_000..200_000_usize]) {
            for [a, b] in [pair(), [Channel::plain(), Channel::plain()]] {
                let [one, other] = sockets();
                let sent = writes.clone();
                let writing = thread::spawn(move || {
                    let mut stream = LinkStream::new(0, one, a).unwrap();
                    for bytes in &sent {
                        stream.write_all(bytes).unwrap();
                    }
                    stream.shutdown(Shutdown::Write).unwrap();
                    read_all(stream, 100)
                });
                let stream = LinkStream::new(1, other, b).unwrap();
                let mut answering = stream.try_clone().unwrap();
                prop_assert_eq!(read_all(stream, piece), (writes.concat(), None));
                answering.write_all(b"answer").unwrap();
                answering.shutdown(Shutdown::Write).unwrap();
                prop_assert_eq!(writing.join().unwrap(), (b"answer".to_vec(), None));
            }
        }

        /// Only what was written is read, in order, up to the alteration, and the alteration is reported.
        #[test]
        fn fuzz_stream_with_altered_bytes(
            writes in writes(),
            at in any::<prop::sample::Index>(),
            length in 1..3_000_usize,
            what in 0..6_u8,
            bit in 0..8_u8,
        ) {
            let [mut a, b] = pair();
            let original = sealed(&mut a.sealer, &writes);
            let mut wire = original.clone();
            let at = at.index(wire.len());
            let upto = (at + length).min(wire.len());
            match what {
                0 => wire[at] ^= 1 << bit,
                1 => wire.truncate(at),
                2 => drop(wire.drain(at..upto)),
                3 => drop(wire.splice(at..at, original[at..upto].to_vec())),
                4 => wire[at..upto].rotate_left((upto - at) / 2),
                _ => wire[at..upto].fill(bit),
            }
            // Nothing is read after the last record.
            let altered = !wire.starts_with(&original);
            let (read, reported) = received(wire, b, 10_000);
            prop_assert_eq!(reported.is_some(), altered, "{:?}", reported);
            let written = writes.concat();
            prop_assert!(written.starts_with(&read));
            prop_assert!(altered || read == written);
        }

        /// Records of another session, or the own ones sent back.
        #[test]
        fn fuzz_stream_of_another_session(writes in writes(), from_itself in any::<bool>()) {
            let [mut a, mut b] = pair();
            let [mut other, _] = pair();
            let sealer = if from_itself { &mut b.sealer } else { &mut other.sealer };
            let wire = sealed(sealer, &writes);
            let (read, reported) = received(wire, b, 10_000);
            prop_assert!(read.is_empty() && reported.is_some_and(|what| what.contains("altered")));
            a.sealer.idle(&mut Vec::new());
        }

        #[test]
        fn fuzz_stream_of_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2_000), plain in any::<bool>()) {
            let channel = if plain { Channel::plain() } else { pair().into_iter().next().unwrap() };
            let (read, reported) = received(bytes, channel, 10_000);
            prop_assert!(plain || read.is_empty() && reported.is_some());
        }
    }
}

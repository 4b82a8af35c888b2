//! Writes what the workers hand over, a file for each key group. Several are written at a time, as each waits
//! for the disk or the network.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use dataflows::Event;
use dataflows::snapshot::{GROUPS, Groups, SnapshotChunk};
use schema::room_of;
use serde::{Deserialize, Serialize};
use snapshots::{GroupFile, Interactions, Packed, RunId, Store, StoreError};

use super::SnapshotStatus;
use super::handle::WriterCommand;
use crate::engine::background::give_way;
use crate::engine::names::Names;

/// What a process wrote of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Report {
    pub(in crate::engine) snapshot: u64,
    pub(in crate::engine) process: usize,
    /// The files written. Groups without one have not changed since the last complete snapshot.
    pub(in crate::engine) files: Vec<GroupFile>,
    /// Groups of which nothing is held any more.
    pub(in crate::engine) empty: Vec<u8>,
    /// Why they are not all there.
    pub(in crate::engine) failure: Option<String>,
}

/// See the module. One thread a process.
pub(in crate::engine) struct SnapshotWriter {
    pub(in crate::engine) store: Arc<Store>,
    /// Tells the files of this process from those of others.
    pub(in crate::engine) run: RunId,
    pub(in crate::engine) process: usize,
    pub(in crate::engine) names: Arc<Names>,
    pub(in crate::engine) handed: Receiver<WriterCommand>,
    /// Workers of all processes.
    pub(in crate::engine) workers: usize,
    pub(in crate::engine) reports: Sender<Report>,
    pub(in crate::engine) told: SnapshotStatus,
}

/// A snapshot being written.
struct Writing {
    report: Report,
    /// Of each group, how many workers have handed over all of it.
    handed_over: [usize; GROUPS],
    /// Groups still to be written.
    left: usize,
    /// What came of groups that are not complete.
    open: Vec<Interactions>,
}

/// Files that are written at a time: each waits for the disk or the network.
const WRITERS: usize = 8;

/// How much longer than it packed a packer rests, so that all of them together take a quarter of the machine. Their
/// priority alone is not enough: a woken worker may still find every core taken for a moment.
const RESTS: u32 = 3;

/// All rows of a group, and the snapshot they are of.
type Whole = (u64, u8, Interactions);

/// A file that was written, or not.
type Written = (u64, Result<GroupFile, StoreError>);

impl SnapshotWriter {
    /// Writes until the workers are gone.
    pub(in crate::engine) fn run(self) {
        let (to_write, written) = self.writers();
        let mut writing: Option<Writing> = None;
        loop {
            select! {
                recv(self.handed) -> handed => match (handed, &mut writing) {
                    (Ok(WriterCommand::Begins { snapshot, wanted }), _) => {
                        writing = Some(Writing::new(snapshot, self.process, wanted.into()));
                    }
                    (Ok(WriterCommand::SnapshotChunk(piece)), Some(writing)) => self.take(&piece, writing, &to_write),
                    (Ok(WriterCommand::SnapshotChunk(_)), None) => {}
                    (Err(_), _) => return,
                },
                recv(written) -> file => if let (Ok(file), Some(writing)) = (file, &mut writing) {
                    writing.wrote(file);
                },
            }
            if let Some(written) = writing.take_if(|writing| writing.left == 0) {
                // Nobody listens only when the run is over.
                self.reports.send(written.report).unwrap_or_default();
            }
        }
    }

    /// Starts the threads that pack, one for each core, and those that write what is packed.
    fn writers(&self) -> (Sender<Whole>, Receiver<Written>) {
        let (to_write, wholes) = bounded::<Whole>(1);
        let (to_put, packed) = bounded::<(u64, Packed)>(1);
        let (done, written) = unbounded();
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            let (wholes, to_put, done) = (wholes.clone(), to_put.clone(), done.clone());
            let (store, run, told) = (Arc::clone(&self.store), self.run, self.told.clone());
            start("packer", move || {
                for (snapshot, group, rows) in wholes {
                    let began = Instant::now();
                    match store.pack(snapshot, run, group, &rows) {
                        // Those that write live as long as their channel, and nobody listens only when the run is over.
                        Ok(packed) => to_put.send((snapshot, packed)).unwrap_or_default(),
                        Err(error) => done.send((snapshot, Err(error))).unwrap_or_default(),
                    }
                    drop(rows);
                    if !told.is_last() {
                        thread::sleep(RESTS * began.elapsed().min(LONGEST_PACKING));
                    }
                }
            });
        }
        for _ in 0..WRITERS {
            let (packed, done, store) = (packed.clone(), done.clone(), Arc::clone(&self.store));
            start("file of a group", move || {
                for (snapshot, packed) in packed {
                    done.send((snapshot, store.put_packed(packed))).unwrap_or_default();
                }
            });
        }
        (to_write, written)
    }

    fn take(&self, piece: &SnapshotChunk, writing: &mut Writing, to_write: &Sender<Whole>) {
        let group = usize::from(piece.group);
        if piece.snapshot != writing.report.snapshot {
            return;
        }
        let open = &mut writing.open[group];
        for &Event { user, item, ts, level, scope } in &piece.events {
            if !open.push_known(user, item, ts, level) {
                // The reader and the writer need the names too: they are looked at only for those that are new here.
                let (users, items, passing) = (self.names.users(), self.names.items(), self.names.passing());
                let user_name = users.get(user).expect("names are held while a snapshot is taken");
                let item_name = items.get(item).or_else(|| passing.get(item));
                let item_name = item_name.expect("names are held while a snapshot is taken");
                open.push((user, user_name), (item, item_name), ts, level);
            }
            if let Some(scope) = scope {
                let passing = self.names.passing();
                let key = passing.get(scope.id()).expect("names are held while a snapshot is taken");
                open.in_room(scope.id(), room_of(key).expect("whoever is in a room has the key of one"));
            }
        }
        writing.handed_over[group] += usize::from(piece.last);
        if writing.handed_over[group] == self.workers {
            let interactions = std::mem::take(&mut writing.open[group]);
            if interactions.is_empty() || writing.report.failure.is_some() {
                writing.left -= 1;
            }
            if interactions.is_empty() {
                writing.report.empty.push(piece.group);
            } else if writing.report.failure.is_none() {
                // The writers live as long as their channel.
                to_write.send((piece.snapshot, piece.group, interactions)).unwrap_or_default();
            }
        }
    }
}

/// What is longer than that was not packing but waiting for a slow store.
const LONGEST_PACKING: Duration = Duration::from_millis(250);

/// Starts a thread that nobody waits for. (The scribe itself goes on as others do: it holds the names for moments, and
/// whoever waits for them would wait for it to get its turn.)
fn start(name: &str, work: impl FnOnce() + Send + 'static) {
    let work = move || {
        give_way();
        work();
    };
    let started = thread::Builder::new().name(name.into()).spawn(work);
    started.expect("threads can be started at the beginning of a run");
}

impl Writing {
    fn wrote(&mut self, (snapshot, file): Written) {
        if snapshot != self.report.snapshot {
            return;
        }
        self.left -= 1;
        match file {
            Ok(file) => self.report.files.push(file),
            Err(error) => self.report.failure = Some(error.to_string()),
        }
    }

    fn new(snapshot: u64, process: usize, wanted: Groups) -> Self {
        Writing {
            report: Report { snapshot, process, files: Vec::new(), empty: Vec::new(), failure: None },
            left: wanted.iter().filter(|wanted| **wanted).count(),
            handed_over: [0; GROUPS],
            open: (0..GROUPS).map(|_| Interactions::default()).collect(),
        }
    }
}

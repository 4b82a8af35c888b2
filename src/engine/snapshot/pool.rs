//! Threads that turn the rows of groups into stored files.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use snapshots::{EncodedGroup, Interactions, RunId, StatementRows, Store, StoreError};

use super::Shard;
use super::state::Event;
use crate::engine::supervisor::{Part, Reporter};
use crate::faults;

/// Files that are written at a time. Each waits for the disk or the network.
const WRITERS: usize = 8;

/// Rest of a packer as a multiple of the time it packed, so that one packer per core takes a quarter of the machine. Low
/// priority alone is not enough: a worker that wakes up may still find every core busy for a moment.
const REST: u32 = 3;

/// A longer time was not spent packing but waiting for a slow store, so no longer one counts for the rest.
const MAX_PACKING: Duration = Duration::from_millis(250);

/// All rows of a shard, of its kind.
pub(super) enum Rows {
    Interactions(Interactions),
    Catalogue(StatementRows),
    Controls(StatementRows),
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Rows::Interactions(rows) => rows.is_empty(),
            Rows::Catalogue(rows) | Rows::Controls(rows) => rows.is_empty(),
        }
    }

    fn encode(&self, store: &Store, snapshot: u64, run: RunId, group: u8) -> Result<EncodedGroup, StoreError> {
        match self {
            Rows::Interactions(rows) => store.encode_group(snapshot, run, group, rows),
            Rows::Catalogue(rows) => store.encode_catalogue(snapshot, run, group, rows),
            Rows::Controls(rows) => store.encode_controls(snapshot, run, group, rows),
        }
    }
}

/// All rows of a shard, to pack and store.
pub(super) struct PackJob {
    pub(super) snapshot: u64,
    pub(super) shard: Shard,
    pub(super) rows: Rows,
    /// Whether packers rest in between.
    pub(super) is_paced: bool,
}

/// Starts packers, one per core, and the writers of packed files. Returns the channel of jobs, which is full while all
/// packers are busy, and the channel of [`Event::Stored`]. Threads end when the jobs do.
pub(super) fn start(store: &Arc<Store>, run: RunId, reporter: &Reporter) -> (Sender<PackJob>, Receiver<Event>) {
    let (job_sender, jobs) = bounded::<PackJob>(1);
    let (packed_sender, packed) = bounded::<(u64, Shard, EncodedGroup)>(1);
    let (stored_sender, stored) = unbounded();
    // Every `send` below fails only when the run is over.
    for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
        let (jobs, packed, stored, store) =
            (jobs.clone(), packed_sender.clone(), stored_sender.clone(), Arc::clone(store));
        start_thread(reporter, "packer", tracing::error_span!("packer"), move || {
            for PackJob { snapshot, shard, rows, is_paced } in jobs {
                let began = Instant::now();
                faults::hit_infallible("snapshot.pack");
                match rows.encode(&store, snapshot, run, shard.group) {
                    Ok(file) => packed.send((snapshot, shard, file)).unwrap_or_default(),
                    Err(error) => {
                        stored.send(Event::Stored { snapshot, shard, file: Err(error) }).unwrap_or_default();
                    }
                }
                drop(rows);
                if is_paced {
                    thread::sleep(REST * began.elapsed().min(MAX_PACKING));
                }
            }
        });
    }
    for _ in 0..WRITERS {
        let (packed, stored, store) = (packed.clone(), stored_sender.clone(), Arc::clone(store));
        start_thread(reporter, "snapshot-writer", tracing::error_span!("snapshot_writer"), move || {
            for (snapshot, shard, file) in packed {
                let file = injected("snapshot.put").and_then(|()| store.put_encoded(file)).map(Some);
                stored.send(Event::Stored { snapshot, shard, file }).unwrap_or_default();
            }
        });
    }
    (job_sender, stored)
}

/// Starts a thread of low priority, which the run does not wait for.
fn start_thread(reporter: &Reporter, name: &'static str, span: tracing::Span, work: impl FnOnce() + Send + 'static) {
    reporter.spawn(Part::Helper(name), span, move || {
        lower_priority();
        work();
        Ok(())
    });
}

/// Lowers the priority of this thread: when all cores are busy, it gets a tenth of the time of a thread that events wait
/// for. Has no effect where the system does not support it.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "cannot lower the priority of a background thread");
    }
}

/// Steps below the default priority, of 20.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Passes a point at which tests let the store fail.
pub(super) fn injected(point: &str) -> Result<(), StoreError> {
    faults::hit(point).map_err(|cause| StoreError::Access {
        place: "the store".into(),
        operation: "write",
        cause: cause.to_string(),
        advice: "remove the fault",
    })
}

//! How a run ends: decided by the supervisor, read by the workers.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};

use serde::{Deserialize, Serialize};

/// The failure of a process of a cluster, as all processes report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFailure {
    /// Number of the process.
    pub process: usize,
    /// Why it failed.
    pub reason: String,
}

/// The end of a run. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<State>);

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    is_decided: AtomicBool,
    failure: OnceLock<PeerFailure>,
    /// Workers to wake up.
    workers: Mutex<Vec<Thread>>,
}

impl Ending {
    /// Lets this thread, a worker, be woken up by what is decided.
    pub(super) fn register(&self) {
        self.0.workers.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current());
    }

    /// Makes the coordinator discard what is in flight.
    pub(super) fn cut(&self) {
        self.0.is_cut.store(true, Release);
        self.wake();
    }

    /// Whether what is in flight is discarded.
    pub(super) fn is_cut(&self) -> bool {
        self.0.is_cut.load(Acquire)
    }

    /// Sets the result of the run for all processes. The first failure counts, also after a success.
    pub(super) fn decide(&self, failure: Option<PeerFailure>) {
        if let Some(failure) = failure {
            self.0.failure.get_or_init(|| failure);
        }
        self.0.is_decided.store(true, Release);
        self.wake();
    }

    /// Whether the result is known.
    pub(super) fn is_decided(&self) -> bool {
        self.0.is_decided.load(Acquire)
    }

    /// The failure of the run, if it has failed.
    pub(super) fn failure(&self) -> Option<&PeerFailure> {
        self.0.failure.get()
    }

    fn wake(&self) {
        self.0.workers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Thread::unpark);
    }
}

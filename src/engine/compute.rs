//! Starts the workers of this process and observes how they end.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use timely::WorkerConfig;
use timely::communication::AllocatorBuilder;

use super::worker::{AllGauges, Coordinator, Durability, Topology};
use super::{RunError, Stop, follower, worker};
use crate::cluster::{Hosts, Links, Loss};

/// How a worker, or all of them, ended.
enum End {
    /// The coordinator has sent all output to the writer.
    Coordinator,
    /// All workers have ended. `false`: process 0 has failed.
    All(bool),
    /// A worker panicked.
    Panic,
    /// Another process of the cluster is lost.
    Lost(Loss),
}

/// The running workers of this process.
pub(super) struct Workers {
    ends: Receiver<End>,
    /// Addresses of the other processes.
    hosts: Option<Hosts>,
}

/// The part of a run that only process 0 has.
pub(super) struct CoordinatorHandle {
    pub(super) coordinator: Coordinator,
    /// Outcome of process 0, sent when all its threads have ended. For clusters.
    pub(super) outcome: Receiver<bool>,
}

/// Starts the workers of this process, with links to those of other processes. In process 0 the first worker is the
/// coordinator.
pub(super) fn start_workers(
    workers: usize,
    links: Option<Links>,
    config: dataflows::Config,
    coordinator: Option<CoordinatorHandle>,
    durability: Durability,
    stop: &Stop,
) -> io::Result<Workers> {
    let (ends_in, ends) = unbounded();
    let topology = Topology {
        processes: links.as_ref().map_or(1, Links::processes),
        process: links.as_ref().map_or(0, |links| links.process),
        workers,
    };
    let hosts = links.as_ref().map(|links| links.hosts.clone());
    let (builders, guards): (Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>) = match links {
        Some(links) => {
            let lost = ends_in.clone();
            // After the run there is no receiver, and a lost process no longer matters.
            let reporter = Loss::listen(move |loss| lost.send(End::Lost(loss)).unwrap_or_default());
            links.into_workers(workers, &reporter)?
        }
        None => timely::CommunicationConfig::Process(workers).try_build().map_err(io::Error::other)?,
    };
    let gauges = coordinator.as_ref().map_or_else(AllGauges::default, |handle| Arc::clone(&handle.coordinator.gauges));
    let (coordinator, stop) = (Mutex::new(coordinator), stop.clone());
    let worker_ends = ends_in.clone();
    let work = move || {
        let workers = timely::execute::execute_from(builders, guards, WorkerConfig::default(), move |worker| {
            let _span = tracing::error_span!("worker", index = worker.index()).entered();
            let _guard = ReportPanic(worker_ends.clone());
            let (graph, mut channel) = worker::build(worker, &config, &gauges, topology, &durability);
            let success = if worker.index() == 0 {
                let handle = coordinator.lock().unwrap_or_else(PoisonError::into_inner).take();
                let CoordinatorHandle { coordinator, outcome } = handle.expect("process 0 has the coordinator");
                coordinator.run(worker, graph, &mut channel, topology);
                worker_ends.send(End::Coordinator).unwrap_or_default();
                if let Some(channel) = channel.filter(|_| topology.processes > 1) {
                    follower::broadcast_shutdown(worker, channel, &outcome);
                }
                true
            } else {
                follower::worker_loop(worker, graph, channel, &stop, topology)
            };
            // The dataflows end inside this closure, so that the guard sees a panic.
            while worker.has_dataflows() {
                worker.step_or_park(None);
            }
            success
        });
        // Joining also closes the links, after the other side has ended.
        let results = workers.and_then(|workers| workers.join().into_iter().collect::<Result<Vec<bool>, _>>());
        let end = results.map_or(End::Panic, |results| End::All(results.into_iter().all(|success| success)));
        ends_in.send(end).unwrap_or_default();
    };
    thread::Builder::new().name("workers".into()).spawn(work)?;
    Ok(Workers { ends, hosts })
}

impl Workers {
    /// Waits until the coordinator has ended.
    pub(super) fn wait_for_coordinator(&self) -> Result<(), RunError> {
        self.next_end().map(drop)
    }

    /// Waits until all workers of this process have ended.
    pub(super) fn wait_for_all(&self) -> Result<(), RunError> {
        match self.next_end()? {
            End::All(false) => Err(RunError::CoordinatorFailed),
            _ => Ok(()),
        }
    }

    /// Fails if a worker panicked or a process is lost.
    fn next_end(&self) -> Result<End, RunError> {
        match self.ends.recv() {
            Ok(End::Lost(Loss { process, what })) => {
                let address = self.hosts.as_ref().map_or("?", |hosts| hosts.address(process)).to_owned();
                Err(RunError::Lost { process, address, what })
            }
            Ok(End::Panic) | Err(_) => Err(RunError::Thread("a worker")),
            Ok(end) => Ok(end),
        }
    }
}

/// Reports when its thread panics. Without it the other workers would wait for the panicked one for ever.
struct ReportPanic(Sender<End>);

impl Drop for ReportPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send(End::Panic).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_a_panicked_worker() {
        let (ends_in, ends) = unbounded();
        let quiet = ends_in.clone();
        thread::spawn(move || drop(ReportPanic(quiet))).join().expect("it does not panic");
        assert!(ends.try_recv().is_err());
        let worker = thread::spawn(move || {
            let _guard = ReportPanic(ends_in);
            panic!("on purpose");
        });
        assert!(worker.join().is_err());
        assert!(matches!(ends.recv(), Ok(End::Panic)));
    }
}

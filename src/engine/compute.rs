//! The workers of this process: started, and listened to for how they end.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use timely::WorkerConfig;
use timely::communication::AllocatorBuilder;

use super::worker::{AllGauges, Coordinator, Durability, Topology};
use super::{RunError, Stop, follower, worker};
use crate::cluster::{Hosts, Links, Loss};

/// What is heard of the workers.
enum End {
    /// The first worker has nothing to steer any more: all that follows from the input is handed on.
    Steered,
    /// All are done. `false`: process 0 has failed.
    Done(bool),
    /// One of them panicked.
    Fallen,
    /// Another process of the cluster is lost.
    Lost(Loss),
}

/// Workers that run.
pub(super) struct Computing {
    ends: Receiver<End>,
    /// Where the other processes are.
    hosts: Option<Hosts>,
}

/// What steers a run, in process 0.
pub(super) struct CoordinatorHandle {
    pub(super) pilot: Coordinator,
    /// Comes when everything that process 0 has to do is done, with whether it was done well. For clusters.
    pub(super) verdict: Receiver<bool>,
}

/// Starts the workers of this process, with links to those of others. In process 0 the first one steers.
pub(super) fn compute(
    workers: usize,
    links: Option<Links>,
    config: dataflows::Config,
    lead: Option<CoordinatorHandle>,
    durability: Durability,
    stop: &Stop,
) -> io::Result<Computing> {
    let (ends_in, ends) = unbounded();
    let team = Topology {
        processes: links.as_ref().map_or(1, Links::processes),
        process: links.as_ref().map_or(0, Links::process),
        workers,
    };
    let hosts = links.as_ref().map(|links| links.hosts().clone());
    let (builders, kept): (Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>) = match links {
        Some(links) => {
            let lost = ends_in.clone();
            // Nobody listens any more when the run is over.
            Loss::listen(move |loss| lost.send(End::Lost(loss)).unwrap_or_default());
            links.into_workers(workers)?
        }
        None => timely::CommunicationConfig::Process(workers).try_build().map_err(io::Error::other)?,
    };
    let gauges = lead.as_ref().map_or_else(AllGauges::default, |lead| lead.pilot.gauges());
    let (lead, stop) = (Mutex::new(lead), stop.clone());
    let fallen = ends_in.clone();
    let work = move || {
        let guards = timely::execute::execute_from(builders, kept, WorkerConfig::default(), move |worker| {
            let _span = tracing::error_span!("worker", index = worker.index()).entered();
            let _guard = TellWhenFallen(fallen.clone());
            let (graph, mut side) = worker::build(worker, &config, &gauges, team, &durability);
            let well = if worker.index() == 0 {
                let lead = lead.lock().unwrap_or_else(PoisonError::into_inner).take();
                let CoordinatorHandle { pilot, verdict } = lead.expect("process 0 has what the first worker needs");
                pilot.steer(worker, graph, &mut side, team);
                fallen.send(End::Steered).unwrap_or_default();
                if let Some(side) = side.filter(|_| team.processes > 1) {
                    follower::part(worker, side, &verdict);
                }
                true
            } else {
                follower::follow(worker, graph, side, &stop, team)
            };
            // Followed to the end here, so that the guard sees a fall.
            while worker.has_dataflows() {
                worker.step_or_park(None);
            }
            well
        });
        // The links end with it: when the other side has ended, too.
        let done = guards.and_then(|guards| guards.join().into_iter().collect::<Result<Vec<bool>, _>>());
        let end = done.map_or(End::Fallen, |well| End::Done(well.into_iter().all(|well| well)));
        ends_in.send(end).unwrap_or_default();
    };
    thread::Builder::new().name("workers".into()).spawn(work)?;
    Ok(Computing { ends, hosts })
}

impl Computing {
    /// Waits until the first worker has nothing more to steer.
    pub(super) fn steered(&self) -> Result<(), RunError> {
        match self.ends.recv() {
            Ok(End::Steered | End::Done(_)) => Ok(()),
            Ok(end) => Err(self.failure(end)),
            Err(_) => Err(RunError::Thread("a worker")),
        }
    }

    /// Waits until all workers of this process are done.
    pub(super) fn done(&self) -> Result<(), RunError> {
        match self.ends.recv() {
            Ok(End::Done(true)) => Ok(()),
            Ok(End::Done(false)) => Err(RunError::CoordinatorFailed),
            Ok(end) => Err(self.failure(end)),
            Err(_) => Err(RunError::Thread("a worker")),
        }
    }

    fn failure(&self, end: End) -> RunError {
        match end {
            End::Lost(Loss { process, what }) => {
                let address = self.hosts.as_ref().map_or("?", |hosts| hosts.address(process)).to_owned();
                RunError::Lost { process, address, what }
            }
            End::Steered | End::Done(_) | End::Fallen => RunError::Thread("a worker"),
        }
    }
}

/// Tells when its worker's thread panics. The other workers would wait for that one for ever.
struct TellWhenFallen(Sender<End>);

impl Drop for TellWhenFallen {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send(End::Fallen).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallen_worker_is_told() {
        let (fallen, told) = unbounded();
        let calm = fallen.clone();
        thread::spawn(move || drop(TellWhenFallen(calm))).join().expect("it does not panic");
        assert!(told.try_recv().is_err());
        let worker = thread::spawn(move || {
            let _guard = TellWhenFallen(fallen);
            panic!("on purpose");
        });
        assert!(worker.join().is_err());
        assert!(matches!(told.recv(), Ok(End::Fallen)));
    }
}

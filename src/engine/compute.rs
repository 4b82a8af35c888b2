//! Starts the workers of this process, and ends each of them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use timely::WorkerConfig;
use timely::communication::AllocatorBuilder;
use timely::worker::Worker;

use super::commands::{CommandChannel, WorkerMessage};
use super::coordinator::Coordinator;
use super::ending::Ending;
use super::supervisor::{Part, Reporter, Supervisor, catch_panic};
use super::worker::{AllGauges, Durability, MAX_SLEEP, Topology, build};
use super::{RunError, follower};
use crate::cluster::{Links, Loss};
use crate::faults;

/// Starts the workers of this process, with links to those of other processes. In process 0 the first worker is the
/// coordinator. The end of each is reported.
pub(super) fn start_workers(
    workers: usize,
    links: Option<Links>,
    config: dataflows::Config,
    coordinator: Option<Coordinator>,
    durability: Durability,
    supervisor: &Supervisor,
) {
    let (reporter, ending, stop) = (supervisor.reporter.clone(), supervisor.ending.clone(), supervisor.stop.clone());
    let topology = Topology {
        processes: links.as_ref().map_or(1, Links::processes),
        process: links.as_ref().map_or(0, |links| links.process),
        workers,
    };
    let connected: io::Result<(Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>)> = match links {
        Some(links) => {
            let (reporter, hosts) = (reporter.clone(), links.hosts.clone());
            let loss = Loss::listen(move |Loss { process, what, is_closed }| {
                let address = hosts.address(process).to_owned();
                let part = if is_closed { Part::ClosedLink } else { Part::Helper("links") };
                reporter.report(part, Err(RunError::Lost { process, address, what }));
            });
            links.into_workers(workers, &loss)
        }
        None => timely::CommunicationConfig::Process(workers).try_build().map_err(io::Error::other),
    };
    let (builders, guards) = match connected {
        Ok(connected) => connected,
        Err(error) => return reporter.report(Part::Workers, Err(RunError::Start { what: "links", error })),
    };
    let gauges = coordinator.as_ref().map_or_else(AllGauges::default, |coordinator| Arc::clone(&coordinator.gauges));
    let coordinator = Mutex::new(coordinator);
    let worker_reporter = reporter.clone();
    let work = move |worker: &mut Worker| {
        let _span = tracing::error_span!("worker", index = worker.index()).entered();
        ending.register();
        let (mut channel, mut graph_index) = (None, None);
        let worked = catch_panic("worker", || {
            let graph;
            (graph, channel) = build(worker, &config, &gauges, topology, &durability);
            graph_index = Some(graph.index);
            if worker.index() == 0 {
                let coordinator = coordinator.lock().unwrap_or_else(PoisonError::into_inner).take();
                coordinator.expect("process 0 has the coordinator").run(worker, graph, &mut channel, topology);
            } else {
                let (reporter, ending) = (&worker_reporter, &ending);
                follower::worker_loop(worker, graph, channel.as_mut(), &stop, topology, reporter, ending);
            }
            Ok(())
        });
        let has_failed = worked.is_err();
        if has_failed && let Some(graph) = graph_index {
            // An operator that panicked must not run again.
            worker.drop_dataflow(graph);
        }
        worker_reporter.report(if worker.index() == 0 { Part::Coordinator } else { Part::Helper("worker") }, worked);
        let ended = catch_panic("worker", || {
            end_worker(worker, channel, &worker_reporter, &ending, topology, has_failed);
            Ok(())
        });
        if ended.is_err() {
            drop_dataflows(worker);
        }
        worker_reporter.report(Part::Helper("worker"), ended);
    };
    reporter.spawn(Part::Workers, tracing::error_span!("workers"), move || {
        let workers = timely::execute::execute_from(builders, guards, WorkerConfig::default(), work);
        let workers = workers.map_err(|error| RunError::Start { what: "worker", error: io::Error::other(error) })?;
        // Joining also closes the links, after the other side has ended.
        let failed = workers.join().into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |message| Err(RunError::Panicked { thread: "worker", message }))
    });
}

/// Ends a worker. If the run has failed, its dataflows are dropped, else they end by themselves. The result of process 0, and
/// a failure of any other process, is sent to all. `has_failed`: this worker has failed, which the others have yet to know.
fn end_worker(
    worker: &mut Worker,
    mut channel: Option<CommandChannel>,
    reporter: &Reporter,
    ending: &Ending,
    topology: Topology,
    has_failed: bool,
) {
    // Another process may fail up to the last moment.
    let receive = |channel: &mut Option<CommandChannel>| {
        if let Some(channel) = channel {
            channel.exchange(|_, message| {
                if let WorkerMessage::Ended { failure: Some(failure) } = message {
                    reporter.report_peer(failure);
                }
            });
        }
    };
    if worker.index() == 0 || has_failed {
        let waited = catch_panic("worker", || {
            while !ending.is_decided() {
                receive(&mut channel);
                worker.step_or_park(Some(MAX_SLEEP));
            }
            Ok(())
        });
        if waited.is_err() {
            // A worker one of whose links is lost panics at each step. What it sends still goes out on the others.
            reporter.report(Part::Helper("worker"), waited);
            while !ending.is_decided() {
                thread::park_timeout(MAX_SLEEP);
            }
        }
    }
    faults::hit_infallible("worker.end");
    let is_first = worker.index().is_multiple_of(topology.workers);
    let sends = topology.processes > 1 && is_first && (worker.index() == 0 || ending.failure().is_some());
    if let Some(channel) = channel.as_mut().filter(|_| sends) {
        channel.broadcast(&WorkerMessage::Ended { failure: ending.failure().cloned() });
        channel.exchange(|_, _| {});
        worker.step();
    }
    if let Some(channel) = &mut channel {
        channel.close();
    }
    while worker.has_dataflows() {
        receive(&mut channel);
        if ending.failure().is_some() {
            // The graphs of other workers, or of other processes, may never complete.
            drop_dataflows(worker);
        }
        worker.step_or_park(Some(MAX_SLEEP));
    }
}

fn drop_dataflows(worker: &mut Worker) {
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
}

//! The loop of all workers but the first.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use timely::worker::Worker;

use super::commands::{CommandChannel, WorkerMessage};
use super::ending::Ending;
use super::supervisor::Reporter;
use super::worker::{Graph, MAX_SLEEP, RETRY_SLEEP, Topology};
use crate::faults;
use crate::stop::Stop;

/// The loop of a worker other than the first: computes, sends its state for snapshots, and reports gauges and a stop request
/// of its process to the first worker. Ends when the coordinator has dropped the input of the graph and, in another
/// process, has sent [`WorkerMessage::Ended`]; or when the run has failed.
pub(super) fn worker_loop(
    worker: &mut Worker,
    graph: Graph,
    channel: Option<&mut CommandChannel>,
    stop: &Stop,
    topology: Topology,
    reporter: &Reporter,
    ending: &Ending,
) {
    let Graph { input, probe, gauges, .. } = graph;
    // Only the first worker sends ticks: the graph ends when the last input is dropped.
    drop(input);
    let is_remote = topology.process > 0;
    let mut watches_stop = is_remote && worker.index().is_multiple_of(topology.workers);
    let (mut reported, mut reported_at) = ((u64::MAX, 0), Instant::now());
    let mut channel = channel;
    while !(probe.done() && (!is_remote || ending.is_decided())) {
        faults::hit_infallible("worker.step");
        // A failure sets the stop request after its result.
        let stops = watches_stop && stop.is_set();
        if ending.failure().is_some() {
            return;
        }
        let Some(channel) = &mut channel else {
            worker.step_or_park(Some(MAX_SLEEP));
            continue;
        };
        if stops {
            watches_stop = false;
            channel.send(0, WorkerMessage::Stop);
        }
        let current = (gauges.next(), gauges.audience.load(Relaxed));
        let has_news = is_remote && current != reported;
        if has_news && reported_at.elapsed() >= RETRY_SLEEP {
            (reported, reported_at) = (current, Instant::now());
            channel.send(0, WorkerMessage::Gauges { next: current.0, audience: current.1 });
        }
        let is_busy = channel.exchange(|_, message| match message {
            WorkerMessage::Ended { failure: Some(failure) } => reporter.report_peer(failure),
            WorkerMessage::Ended { failure: None } => ending.decide(None),
            _ => {}
        });
        if is_busy {
            worker.step();
        } else {
            worker.step_or_park(Some(if has_news { RETRY_SLEEP } else { MAX_SLEEP }));
        }
    }
}

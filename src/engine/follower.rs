//! The loop of all workers but the first, and the shutdown of a cluster.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError};
use timely::worker::Worker;

use super::commands::{CommandChannel, WorkerMessage};
use super::worker::{Graph, MAX_SLEEP, RETRY_SLEEP, Topology};
use crate::stop::Stop;

/// Notifies all other processes of the end of the run, once `outcome` has whether process 0 succeeded.
pub(super) fn broadcast_shutdown(worker: &mut Worker, mut channel: CommandChannel, outcome: &Receiver<bool>) {
    let success = loop {
        match outcome.try_recv() {
            Ok(success) => break success,
            Err(TryRecvError::Disconnected) => break false,
            Err(TryRecvError::Empty) => {}
        }
        channel.exchange(|_, _| {});
        worker.step_or_park(Some(MAX_SLEEP));
    };
    channel.broadcast(&WorkerMessage::Ended { success });
    channel.exchange(|_, _| {});
}

/// The loop of a worker other than the first: computes, sends its state for snapshots, and reports gauges and a stop request
/// of its process to the first worker. Ends when the coordinator has dropped the input of the graph and, in another
/// process, has sent [`WorkerMessage::Ended`]. Returns whether process 0 succeeded.
pub(super) fn worker_loop(
    worker: &mut Worker,
    graph: Graph,
    channel: Option<CommandChannel>,
    stop: &Stop,
    topology: Topology,
) -> bool {
    let Graph { input, probe, gauges, .. } = graph;
    // Only the first worker sends ticks: the graph ends when the last input is dropped.
    drop(input);
    let Some(mut channel) = channel else { return true };
    let is_remote = topology.process > 0;
    let mut shutdown = (!is_remote).then_some(true);
    let mut watches_stop = is_remote && worker.index().is_multiple_of(topology.workers);
    let (mut reported, mut reported_at) = ((u64::MAX, 0), Instant::now());
    while !(probe.done() && shutdown.is_some()) {
        if watches_stop && stop.is_set() {
            watches_stop = false;
            channel.send(0, WorkerMessage::Stop);
        }
        let current = (gauges.next_due.load(Relaxed), gauges.audience.load(Relaxed));
        let has_news = is_remote && current != reported;
        if has_news && reported_at.elapsed() >= RETRY_SLEEP {
            (reported, reported_at) = (current, Instant::now());
            channel.send(0, WorkerMessage::Gauges { next_due: current.0, audience: current.1 });
        }
        let is_busy = channel.exchange(|_, message| {
            if let WorkerMessage::Ended { success } = message {
                shutdown = Some(success);
            }
        });
        if is_busy {
            worker.step();
        } else {
            worker.step_or_park(Some(if has_news { RETRY_SLEEP } else { MAX_SLEEP }));
        }
    }
    shutdown.unwrap_or(true)
}

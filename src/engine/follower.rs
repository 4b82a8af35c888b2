//! The workers that do not steer, and how all processes end together.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError};
use timely::worker::Worker;

use super::commands::{CommandChannel, WorkerMessage};
use super::worker::{Graph, LONGEST_SLEEP, SOON, Topology};
use crate::stop::Stop;

/// Tells all other processes that the run is over, once it is known whether all that process 0 has to do was done well.
pub(super) fn part(worker: &mut Worker, mut side: CommandChannel, verdict: &Receiver<bool>) {
    let well = loop {
        match verdict.try_recv() {
            Ok(well) => break well,
            Err(TryRecvError::Disconnected) => break false,
            Err(TryRecvError::Empty) => {}
        }
        side.exchange(|_, _| {});
        worker.step_or_park(Some(LONGEST_SLEEP));
    };
    side.broadcast(&WorkerMessage::Ended { success: well });
    side.exchange(|_, _| {});
}

/// All workers but the first: works on what the first one feeds, and tells it what it cannot see. Returns whether process 0
/// did well, as far as it says.
pub(super) fn follow(
    worker: &mut Worker,
    graph: Graph,
    side: Option<CommandChannel>,
    stop: &Stop,
    team: Topology,
) -> bool {
    let Graph { input, output, probe, gauges, .. } = graph;
    // They have no input of their own.
    drop((input, output));
    let Some(mut side) = side else { return true };
    let is_elsewhere = team.process > 0;
    let mut over = (!is_elsewhere).then_some(true);
    let mut asks = is_elsewhere && worker.index().is_multiple_of(team.workers);
    let (mut told, mut told_at) = ((u64::MAX, 0), Instant::now());
    while !(probe.done() && over.is_some()) {
        if asks && stop.is_set() {
            asks = false;
            side.send(0, WorkerMessage::Stop);
        }
        let now = (gauges.next_due.load(Relaxed), gauges.audience.load(Relaxed));
        let news = is_elsewhere && now != told;
        if news && told_at.elapsed() >= SOON {
            (told, told_at) = (now, Instant::now());
            side.send(0, WorkerMessage::Gauges { next_due: now.0, audience: now.1 });
        }
        let busy = side.exchange(|_, letter| {
            if let WorkerMessage::Ended { success } = letter {
                over = Some(success);
            }
        });
        if busy {
            worker.step();
        } else {
            worker.step_or_park(Some(if news { SOON } else { LONGEST_SLEEP }));
        }
    }
    over.unwrap_or(true)
}

//! Runs the graph tick by tick with snapshots and what an earlier run left, on any number of workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataflows::{
    Barrier, Config, Durable, GROUPS, Input, ListChange, Reconcile, SnapshotChunk, SnapshotSink, Time,
    durable_recommendations, next,
};
use timely::dataflow::operators::{Input as _, Inspect, Probe};

/// Inputs taken together, as [`Tick`](super::graph::Tick).
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub(crate) at: u64,
    pub(crate) since: u64,
    pub(crate) inputs: Vec<Input>,
}

/// What a run goes on from.
#[derive(Clone, Default)]
pub(crate) struct From {
    pub(crate) inputs: Vec<Input>,
    pub(crate) at: u64,
    pub(crate) lists: Vec<(u64, Vec<u64>)>,
}

/// What a run did.
pub(crate) struct Ran {
    /// In no order.
    pub(crate) changes: Vec<(Time, ListChange)>,
    pub(crate) pieces: Vec<SnapshotChunk>,
}

/// Pieces of a snapshot.
pub(crate) type Pieces = Arc<Mutex<Vec<SnapshotChunk>>>;

/// Runs all ticks; with `snapshot_after` a snapshot is taken of the tick with that index, while the next ones go on.
/// `keeper`: what puts the pieces there, on each worker.
pub(crate) fn run<K: SnapshotSink + 'static>(
    config: &Config,
    ticks: Vec<Inputs>,
    snapshot_after: Option<usize>,
    from: Option<From>,
    workers: usize,
    keeper: fn(Pieces) -> K,
) -> Ran {
    let (changes, pieces): (Arc<Mutex<Vec<_>>>, Pieces) = Default::default();
    let (collected, kept) = (Arc::clone(&changes), Arc::clone(&pieces));
    let config = config.clone();
    timely::execute(timely::Config::process(workers), move |worker| {
        let (collected, kept, resumes) = (Arc::clone(&collected), Arc::clone(&kept), from.is_some());
        let keeper = Box::new(keeper(Arc::clone(&kept)));
        let (mut input, mut output, probe) = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let (output, held) = resumes.then(|| scope.new_input()).unzip();
            let durable = Durable { keeper: Some(keeper), output: held };
            let changes = durable_recommendations(events, &config, durable).changes;
            let inspected = changes.inspect_core(move |batch| {
                if let Ok((stamp, changes)) = batch {
                    let time = *stamp.least().unwrap();
                    collected.lock().unwrap().extend(changes.iter().map(|change| (time, change.clone())));
                }
            });
            let (probe, _) = inspected.probe();
            (input, output, probe)
        });
        if worker.index() != 0 {
            return;
        }
        let workers = worker.peers() as u64;
        let mut last: Time = 0;
        if let (Some(from), Some(output)) = (&from, &mut output) {
            // A user may come in two ticks, and the last one brings nothing but that it is the last.
            let (some, rest) = from.inputs.split_at(from.inputs.len() / 2);
            for (barrier, inputs) in [(Some(Barrier::LoadBegin), some), (None, rest), (Some(Barrier::LoadEnd), &[])] {
                last = next(last, from.at);
                input.advance_to(last);
                output.advance_to(last);
                if let Some(barrier) = barrier {
                    (0..workers).for_each(|worker| input.send(Input::Barrier { worker, barrier }));
                }
                for event in inputs {
                    input.send(*event);
                }
            }
            for (user, items) in &from.lists {
                output.send(Reconcile::Known { user: *user, items: items.clone() });
            }
            (0..workers).for_each(|worker| output.send(Reconcile::Finish { worker }));
        }
        for (at, tick) in ticks.iter().enumerate() {
            let since = next(last, tick.since);
            last = next(last, tick.at);
            if since < last {
                input.advance_to(since);
                let barrier = Barrier::Coalesce { tick: last };
                (0..workers).for_each(|worker| input.send(Input::Barrier { worker, barrier }));
            }
            input.advance_to(last);
            if let Some(output) = &mut output {
                output.advance_to(last);
            }
            for event in &tick.inputs {
                input.send(*event);
            }
            if snapshot_after == Some(at) {
                let barrier = Barrier::Snapshot { number: 7, since: 0 };
                (0..workers).for_each(|worker| input.send(Input::Barrier { worker, barrier }));
            }
            input.advance_to(last + 1);
            if let Some(output) = &mut output {
                output.advance_to(last + 1);
            }
            worker.step();
        }
        // There may have been no tick at all.
        input.advance_to(last + 1);
        if let Some(output) = &mut output {
            output.advance_to(last + 1);
        }
        worker.step_while(|| probe.less_than(&(last + 1)));
        if snapshot_after.is_some() {
            let all_of = GROUPS * worker.peers();
            worker.step_while(|| kept.lock().unwrap().iter().filter(|piece| piece.last).count() < all_of);
        }
    })
    .unwrap();
    let changes = std::mem::take(&mut *changes.lock().unwrap());
    let pieces = std::mem::take(&mut *pieces.lock().unwrap());
    Ran { changes, pieces }
}

/// Each user's list after all changes, users without one left out.
pub(crate) fn lists<'c>(changes: impl IntoIterator<Item = &'c ListChange>) -> Vec<(u64, Vec<u64>)> {
    let mut lists = BTreeMap::new();
    for change in changes {
        lists.insert(change.user, change.items.iter().map(|scored| scored.item).collect::<Vec<_>>());
    }
    lists.into_iter().filter(|(_, items)| !items.is_empty()).collect()
}

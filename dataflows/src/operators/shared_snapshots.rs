//! Snapshots of states that an operator keeps by id, in slices: the states of a slice are shared with the snapshot until its turn
//! comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schema::{IdMap, KEY_GROUPS};
use timely::scheduling::Activator;

use crate::{Groups, SnapshotChunk, SnapshotSink, Time};

/// A state of which a snapshot stores rows.
pub(crate) trait Stored {
    /// A row.
    type Row: Clone;

    /// The rows that make the same state.
    fn rows(&self, id: u64) -> Vec<Self::Row>;

    /// The id under which a row is kept.
    fn id_of(row: &Self::Row) -> u64;
}

/// What has a shared state: the state, or one with more around it.
pub(crate) trait Shares<S> {
    fn shared(&self) -> &Arc<S>;
}

impl<S> Shares<S> for Arc<S> {
    fn shared(&self) -> &Arc<S> {
        self
    }
}

/// How states are divided: into groups by the top bits of their ids, and these into slices. A snapshot takes a slice at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slicing {
    pub(crate) groups: usize,
    pub(crate) slices_per_group: usize,
}

impl Slicing {
    pub(crate) const fn slices(self) -> usize {
        self.groups * self.slices_per_group
    }

    /// The slice of an id: its top bits.
    pub(crate) fn slice_of(self, id: u64) -> usize {
        (id >> (u64::BITS - self.slices().ilog2())) as usize
    }

    fn group_of(self, slice: usize) -> usize {
        slice / self.slices_per_group
    }
}

/// Takes the snapshots of an operator. Without a sink it records nothing.
pub(crate) struct SharedSnapshots<S: Stored> {
    slicing: Slicing,
    sink: Option<Box<dyn SnapshotSink<S::Row>>>,
    /// Tick of the last change of each group; 0 if it never changed.
    changed: Vec<Time>,
    /// Whether a snapshot is being loaded. What it brings does not change the files.
    loading: bool,
    running: Option<Running<S>>,
}

struct Running<S: Stored> {
    number: u64,
    slicing: Slicing,
    /// Next slice to emit. All slices before it are done.
    next_slice: usize,
    wanted: Option<Groups>,
    /// Slices that changed before their turn, as they were.
    early: BTreeMap<usize, Vec<(u64, Arc<S>)>>,
    /// Rows ahead of the clock, by slice.
    held: BTreeMap<usize, Vec<S::Row>>,
}

/// Delay until the sink is asked again.
const RETRY: Duration = Duration::from_millis(1);

impl<S: Stored> SharedSnapshots<S> {
    pub(crate) fn new(slicing: Slicing, sink: Option<Box<dyn SnapshotSink<S::Row>>>) -> Self {
        SharedSnapshots { slicing, sink, changed: vec![0; slicing.groups], loading: false, running: None }
    }

    pub(crate) fn set_loading(&mut self, loading: bool) {
        self.loading = loading;
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.loading
    }

    /// Records that what is kept under an id changes at `time`.
    pub(crate) fn mark_changed(&mut self, id: u64, time: Time) {
        if !self.loading {
            self.changed[self.slicing.group_of(self.slicing.slice_of(id))] = time;
        }
    }

    /// Must be called before a state of the slice changes at `time`.
    pub(crate) fn before_change<E: Shares<S>>(&mut self, id: u64, slice: &IdMap<E>, time: Time) {
        if self.sink.is_none() {
            return;
        }
        self.mark_changed(id, time);
        let at = self.slicing.slice_of(id);
        if let Some(running) = self.running.as_mut().filter(|running| at >= running.next_slice && running.wants(at)) {
            running.early.entry(at).or_insert_with(|| shared(slice));
        }
    }

    /// Begins a snapshot of the present states, and abandons one that is still running.
    pub(crate) fn begin<'h>(&mut self, number: u64, since: Time, held: impl Iterator<Item = &'h S::Row>)
    where
        S::Row: 'h,
    {
        let Some(sink) = &mut self.sink else { return };
        let mut changed = [false; KEY_GROUPS];
        changed.iter_mut().zip(&self.changed).for_each(|(flag, tick)| *flag = *tick > since || since == 0);
        sink.begin(number, &changed);
        let slicing = self.slicing;
        let mut by_slice: BTreeMap<usize, Vec<S::Row>> = BTreeMap::new();
        for row in held {
            by_slice.entry(slicing.slice_of(S::id_of(row))).or_default().push(row.clone());
        }
        let early = BTreeMap::new();
        self.running = Some(Running { number, slicing, next_slice: 0, wanted: None, early, held: by_slice });
    }

    /// Emits a slice of the running snapshot, and has the operator activated again if there are more.
    pub(crate) fn advance<E: Shares<S>>(&mut self, slices: &[IdMap<E>], activator: &Activator) {
        let (Some(sink), Some(running)) = (&mut self.sink, &mut self.running) else { return };
        if running.wanted.is_none() {
            running.wanted = sink.wanted(running.number);
        }
        if running.wanted.is_none() || !sink.has_room() {
            activator.activate_after(RETRY);
            return;
        }
        while running.next_slice < slices.len() && !running.wants(running.next_slice) {
            running.early.remove(&running.next_slice);
            running.next_slice += 1;
        }
        if running.next_slice == slices.len() {
            self.running = None;
            return;
        }
        sink.push(running.next_chunk(slices));
        activator.activate();
    }
}

impl<S: Stored> Running<S> {
    fn wants(&self, slice: usize) -> bool {
        self.wanted.is_none_or(|wanted| wanted[self.slicing.group_of(slice)])
    }

    fn next_chunk<E: Shares<S>>(&mut self, slices: &[IdMap<E>]) -> SnapshotChunk<S::Row> {
        let at = self.next_slice;
        self.next_slice += 1;
        let states = self.early.remove(&at).unwrap_or_else(|| shared(&slices[at]));
        let mut rows: Vec<S::Row> = states.iter().flat_map(|(id, state)| state.rows(*id)).collect();
        rows.extend(self.held.remove(&at).unwrap_or_default());
        let group = self.slicing.group_of(at);
        let last = self.next_slice == slices.len() || self.slicing.group_of(self.next_slice) != group;
        let group = u8::try_from(group).expect("there are at most 256 groups");
        SnapshotChunk { snapshot: self.number, group, rows, last }
    }
}

fn shared<S, E: Shares<S>>(slice: &IdMap<E>) -> Vec<(u64, Arc<S>)> {
    slice.iter().map(|(id, entry)| (*id, Arc::clone(entry.shared()))).collect()
}

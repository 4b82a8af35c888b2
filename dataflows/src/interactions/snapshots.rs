//! Snapshots on one worker: copy on write while events continue.

use std::collections::BTreeMap;

use schema::{KEY_GROUPS, key_group};

use super::history::Touches;
use super::users::{SLICES, SLICES_PER_GROUP, UserState, UserTable, slice_of};
use crate::{Event, Groups, SnapshotChunk, SnapshotSink, Time, UserId};

/// Takes the snapshots of one worker. Without a sink it records nothing.
pub(super) struct Snapshots {
    sink: Option<Box<dyn SnapshotSink>>,
    /// Tick of the last change of each group on this worker; 0 if it never changed.
    changed: [Time; KEY_GROUPS],
    /// Whether a snapshot is being loaded. What it brings, and what of it has expired, does not change the files.
    loading: bool,
    running: Option<RunningSnapshot>,
}

struct RunningSnapshot {
    number: u32,
    /// Next slice to emit. All slices before it are done.
    next_slice: usize,
    wanted: Option<Groups>,
    /// Events to emit with each slice in addition to those in the user table: of users that changed before their slice was
    /// emitted, events ahead of the clock, and events that trending lists retain.
    early: BTreeMap<usize, Vec<Event>>,
}

/// State of the running snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotProgress {
    /// No snapshot is running, or it is complete.
    Complete,
    /// There are more chunks to emit.
    More,
    /// There are more chunks, and the sink cannot take one now.
    Blocked,
}

/// Cost of a slice without its events, in events.
const SLICE_COST: usize = 10;

impl Snapshots {
    pub(super) fn new(sink: Option<Box<dyn SnapshotSink>>) -> Self {
        Snapshots { sink, changed: [0; KEY_GROUPS], loading: false, running: None }
    }

    /// Sets whether a snapshot is being loaded.
    pub(super) fn set_loading(&mut self, loading: bool) {
        self.loading = loading;
    }

    /// Must be called before a user changes at `time`, also before it is created.
    pub(super) fn before_change(&mut self, id: UserId, user: &mut UserState, time: Time) {
        if self.sink.is_none() {
            return;
        }
        self.mark_changed(id, time);
        let Some(running) = &mut self.running else { return };
        if user.snapshot == running.number || slice_of(id) < running.next_slice {
            return;
        }
        user.snapshot = running.number;
        if running.wants(slice_of(id)) && !user.touches.is_empty() {
            running.early.entry(slice_of(id)).or_default().extend(user.touches.events(id));
        }
    }

    /// Records that the state of a user outside the user table changes.
    pub(super) fn mark_changed(&mut self, id: UserId, time: Time) {
        if !self.loading {
            self.changed[usize::from(key_group(id))] = time;
        }
    }

    /// Begins a snapshot of the present state, and abandons one that is still running. `others`: retained events that are not
    /// in the user table.
    pub(super) fn begin(&mut self, snapshot: u64, since: Time, others: impl Iterator<Item = Event>) {
        let Some(sink) = &mut self.sink else { return };
        let changed = std::array::from_fn(|group| self.changed[group] > since || since == 0);
        sink.begin(snapshot, &changed);
        let mut early: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
        for event in others {
            early.entry(slice_of(event.user)).or_default().push(event);
        }
        self.running = Some(RunningSnapshot { number: snapshot as u32, next_slice: 0, wanted: None, early });
    }

    /// Emits at least one slice, and more while they have fewer than `budget` events together.
    pub(super) fn advance(&mut self, users: &UserTable, mut budget: usize) -> SnapshotProgress {
        let (Some(sink), Some(running)) = (&mut self.sink, &mut self.running) else {
            return SnapshotProgress::Complete;
        };
        if running.wanted.is_none() {
            running.wanted = sink.wanted(u64::from(running.number));
        }
        if running.wanted.is_none() {
            return SnapshotProgress::Blocked;
        }
        while running.next_slice < SLICES {
            if !running.wants(running.next_slice) {
                running.early.remove(&running.next_slice);
                running.next_slice += 1;
                continue;
            }
            if budget == 0 {
                return SnapshotProgress::More;
            }
            if !sink.has_room() {
                return SnapshotProgress::Blocked;
            }
            let chunk = running.next_chunk(users);
            budget = budget.saturating_sub(chunk.events.len() + SLICE_COST);
            sink.push(chunk);
        }
        self.running = None;
        SnapshotProgress::Complete
    }
}

impl RunningSnapshot {
    fn wants(&self, slice: usize) -> bool {
        self.wanted.is_none_or(|wanted| wanted[slice / SLICES_PER_GROUP])
    }

    fn next_chunk(&mut self, users: &UserTable) -> SnapshotChunk {
        let slice = self.next_slice;
        self.next_slice += 1;
        let mut events = self.early.remove(&slice).unwrap_or_default();
        for (id, user) in users.slice(slice).filter(|(_, user)| user.snapshot != self.number) {
            events.extend(user.touches.events(id));
        }
        SnapshotChunk {
            snapshot: u64::from(self.number),
            group: (slice / SLICES_PER_GROUP) as u8,
            events,
            last: self.next_slice.is_multiple_of(SLICES_PER_GROUP),
        }
    }
}

impl Touches {
    fn events(&self, user: UserId) -> impl Iterator<Item = Event> {
        let event = move |item, ts, level| Event { user, item, ts, level, scope: None };
        self.iter().map(move |touch| event(touch.item, touch.ts(), touch.level()))
    }
}

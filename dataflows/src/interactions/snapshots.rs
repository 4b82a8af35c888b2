//! Snapshots on one worker: copy on write while events continue.

use std::collections::BTreeMap;

use schema::{KEY_GROUPS, key_group};

use super::users::{SLICES, SLICES_PER_GROUP, UserState, UserTable, slice_of};
use crate::{Event, Groups, SnapshotChunk, SnapshotSink, Time, UserId};

/// Takes the snapshots of one worker. Without a sink it records nothing.
pub(super) struct Snapshots {
    sink: Option<Box<dyn SnapshotSink<Event>>>,
    /// Tick of the last change of each group on this worker; 0 if it never changed.
    changed: [Time; KEY_GROUPS],
    /// Whether a snapshot is being loaded. What it brings, and what of it has expired, does not change the files.
    loading: bool,
    running: Option<RunningSnapshot>,
}

struct RunningSnapshot {
    number: u64,
    /// What users that were copied are marked with.
    mark: u32,
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
    pub(super) fn new(sink: Option<Box<dyn SnapshotSink<Event>>>) -> Self {
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
        if user.snapshot == running.mark || slice_of(id) < running.next_slice {
            return;
        }
        user.snapshot = running.mark;
        if running.wants(slice_of(id)) && !user.is_empty() {
            running.early.entry(slice_of(id)).or_default().extend(user.events(id));
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
        let mark = mark_of(snapshot);
        self.running = Some(RunningSnapshot { number: snapshot, mark, next_slice: 0, wanted: None, early });
    }

    /// Emits at least one slice, and more while they have fewer than `budget` events together.
    pub(super) fn advance(&mut self, users: &UserTable, mut budget: usize) -> SnapshotProgress {
        let (Some(sink), Some(running)) = (&mut self.sink, &mut self.running) else {
            return SnapshotProgress::Complete;
        };
        if running.wanted.is_none() {
            running.wanted = sink.wanted(running.number);
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
            budget = budget.saturating_sub(chunk.rows.len() + SLICE_COST);
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

    fn next_chunk(&mut self, users: &UserTable) -> SnapshotChunk<Event> {
        let slice = self.next_slice;
        self.next_slice += 1;
        let mut events = self.early.remove(&slice).unwrap_or_default();
        let may_repeat = !events.is_empty();
        for (id, user) in users.slice(slice).filter(|(_, user)| user.snapshot != self.mark) {
            events.extend(user.events(id));
        }
        if may_repeat {
            keep_one_each(&mut events);
        }
        SnapshotChunk {
            snapshot: self.number,
            group: (slice / SLICES_PER_GROUP) as u8,
            rows: events,
            last: self.next_slice.is_multiple_of(SLICES_PER_GROUP),
        }
    }
}

/// The mark of a snapshot: never 0, which users have that no snapshot has copied. Two snapshots with the same mark are four
/// billion apart.
fn mark_of(snapshot: u64) -> u32 {
    (snapshot % u64::from(u32::MAX)) as u32 + 1
}

/// Leaves one of each event. The histories, the events ahead of the clock and the trending lists each retain an event for
/// reasons of their own; only the trending lists know its room, so the event with the room is the one that stays.
fn keep_one_each(events: &mut Vec<Event>) {
    events.sort_unstable_by_key(|event| {
        let Event { user, item, ts, effect, scope } = *event;
        (user, item, ts, effect, scope.is_none(), scope)
    });
    events.dedup_by(|later, kept| {
        let is_same = |scope| Event { scope, ..*later } == Event { scope, ..*kept };
        is_same(None) && (later.scope.is_none() || later.scope == kept.scope)
    });
}

#[cfg(test)]
mod tests {
    use schema::Effect;

    use super::*;
    use crate::Scope;

    #[test]
    fn one_of_each_event_stays_with_its_room() {
        let event = |user, ts, scope: Option<u64>| Event {
            user,
            item: 1,
            ts,
            effect: Effect::Counts(2),
            scope: scope.map(Scope::new),
        };
        let mut events = vec![
            event(7, 10, None),
            event(7, 10, Some(3)),
            event(7, 11, None),
            event(7, 10, Some(4)),
            event(7, 11, None),
            event(8, 10, None),
            event(7, 10, Some(3)),
            event(7, 10, None),
        ];
        keep_one_each(&mut events);
        let left = [event(7, 10, Some(3)), event(7, 10, Some(4)), event(7, 11, None), event(8, 10, None)];
        assert_eq!(events, left);
    }

    #[test]
    fn a_mark_is_never_that_of_a_user_without_a_snapshot() {
        for snapshot in [0, 1, u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 32, (1 << 33) - 2, u64::MAX - 1] {
            assert_ne!(mark_of(snapshot), 0, "{snapshot}");
            assert_ne!(mark_of(snapshot), mark_of(snapshot.wrapping_add(1)), "{snapshot}");
        }
    }
}

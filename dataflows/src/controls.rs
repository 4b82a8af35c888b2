//! Controls: what users say of what is known of them and shown to them (`docs/semantics.md`, "Controls").
//!
//! The operator keeps the controls in force of each user, on the worker of the user. What they mean for events goes to the
//! interactions, what they mean for items to the lists.

mod user_controls;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use schema::{Control, ControlScope, IdMap, KEY_GROUPS, Wish, id64};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::scheduling::Activator;

pub use self::user_controls::EventControls;
use self::user_controls::UserControls;
use crate::gauges::{Gauges, set};
use crate::operators::{CoalescedTicks, Input, Output, SharedSnapshots, SlicedOperator, Slicing, StageBuilder, Stored};
use crate::{Barrier, ItemId, SnapshotSink, Time, UserId, WorkerBarrier, first_of, ms_of};

/// A control as the graph takes it: the user's name mapped to an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ControlRecord {
    /// The user.
    pub user: UserId,
    /// Milliseconds since the Unix epoch, below [`crate::MAX_MS`]. The control acts in its tick, or at its own timestamp if that
    /// is later.
    pub ts: u64,
    /// What it says.
    pub control: Control,
    /// The id64 of [`Control::item`].
    pub item: Option<ItemId>,
}

/// What the controls of a user mean for the user's events from a tick on.
#[derive(Clone, Debug)]
pub struct EventControlsChange {
    /// The user.
    pub user: UserId,
    /// What they mean.
    pub controls: Rc<EventControls>,
    /// Whether a control is in force that was not before, in which case the user acts.
    pub acts: bool,
}

/// What a user wishes for the items of a class, or for one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The items.
    pub class: Class,
    /// The wish.
    pub wish: Wish,
    /// The item of that name, if the class is a room, or one item.
    pub item: Option<ItemId>,
}

/// The new preferences of a user.
#[derive(Clone, Debug)]
pub struct PreferencesChange {
    /// The user.
    pub user: UserId,
    /// All that the user wishes.
    pub preferences: Rc<[Preference]>,
}

/// Items of one room, host, brand, category or tag; of a single item a class that no item has. A hash of its name: two classes are one with a probability of 2^-64, and
/// then a user is shown a little less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Class(u64);

impl Class {
    /// The class of this scope and name; of a category the canonical path.
    pub fn new(scope: ControlScope, name: &str) -> Self {
        Class(id64(&format!("{}:{name}", scope.name())))
    }
}

/// The outputs of [`controls`], each on the worker of the user.
pub struct ControlOutputs<'scope> {
    /// Users whose controls changed, each once a tick.
    pub of_events: Stream<'scope, Time, Vec<EventControlsChange>>,
    /// Users whose preferences changed, each once a tick.
    pub preferences: Stream<'scope, Time, Vec<PreferencesChange>>,
}

/// Keeps the controls of users.
///
/// Cost of a control: a pass over those of its user, of which there are some thousand at most. Memory: 100 bytes a control.
pub fn controls<'scope>(
    records: Stream<'scope, Time, Vec<ControlRecord>>,
    barriers: Stream<'scope, Time, Vec<WorkerBarrier>>,
    gauges: &Arc<Gauges>,
    snapshots: Option<Box<dyn SnapshotSink<ControlRecord>>>,
) -> ControlOutputs<'scope> {
    let mut builder = StageBuilder::new("Controls", records.scope());
    let activator = builder.activator.clone();
    let records = builder.input(records, Exchange::new(|record: &ControlRecord| record.user));
    let barriers = builder.input(barriers, Exchange::new(|barrier: &WorkerBarrier| barrier.worker));
    let (of_events_output, of_events) = builder.output();
    let (preferences_output, preferences) = builder.output();
    let operator = Operator {
        records,
        barriers,
        of_events: of_events_output,
        preferences: preferences_output,
        users: (0..SLICING.slices()).map(|_| IdMap::default()).collect(),
        number: 0,
        held: BTreeMap::new(),
        coalesced: CoalescedTicks::default(),
        end: Time::MAX,
        snapshots: SharedSnapshots::new(SLICING, snapshots),
        activator,
        gauges: Arc::clone(gauges),
    };
    builder.build(1, operator);
    ControlOutputs { of_events, preferences }
}

/// A snapshot takes a slice at a time.
const SLICING: Slicing = Slicing { groups: KEY_GROUPS, slices_per_group: 4 };

struct Operator {
    records: Input<ControlRecord>,
    barriers: Input<WorkerBarrier>,
    of_events: Output<EventControlsChange>,
    preferences: Output<PreferencesChange>,
    /// Controls of users by slice.
    users: Vec<IdMap<Arc<UserControls>>>,
    /// Number of users with controls.
    number: u64,
    /// Controls ahead of the clock, by the millisecond at which they act.
    held: BTreeMap<u64, Vec<ControlRecord>>,
    coalesced: CoalescedTicks,
    end: Time,
    snapshots: SharedSnapshots<UserControls>,
    activator: Activator,
    gauges: Arc<Gauges>,
}

impl Stored for UserControls {
    type Row = ControlRecord;

    fn rows(&self, user: u64) -> Vec<ControlRecord> {
        self.records().map(|(ts, control, item)| ControlRecord { user, ts, control, item }).collect()
    }

    fn id_of(row: &ControlRecord) -> u64 {
        row.user
    }
}

impl Operator {
    fn next_due(&self) -> Option<u64> {
        self.held.keys().next().copied()
    }

    /// Applies the controls of a tick, and those ahead of the clock that it reaches.
    fn tick(&mut self, time: Time) {
        let now = ms_of(time);
        let mut acting: BTreeMap<UserId, Vec<ControlRecord>> = BTreeMap::new();
        while let Some(first) = self.held.first_entry().filter(|first| *first.key() <= now) {
            for record in first.remove() {
                acting.entry(record.user).or_default().push(record);
            }
        }
        for record in self.records.take(time).into_iter().flatten() {
            if record.ts > now {
                self.snapshots.mark_changed(record.user, time);
                self.held.entry(record.ts).or_default().push(record);
            } else {
                acting.entry(record.user).or_default().push(record);
            }
        }
        for (user, records) in acting {
            let slice = &mut self.users[SLICING.slice_of(user)];
            let before = slice.get(&user).cloned().unwrap_or_default();
            let after = before.with(records);
            if *before == after {
                continue;
            }
            self.snapshots.before_change(user, slice, time);
            emit(user, &before, &after, &self.of_events, &self.preferences);
            self.number += u64::from(slice.insert(user, Arc::new(after)).is_none());
        }
    }

    /// At the end of the input the controls ahead of the clock act. They stay held, for the snapshot of the end.
    fn end(&self) {
        let mut acting: BTreeMap<UserId, Vec<ControlRecord>> = BTreeMap::new();
        for record in self.held.values().flatten() {
            acting.entry(record.user).or_default().push(record.clone());
        }
        for (user, records) in acting {
            let before = self.users[SLICING.slice_of(user)].get(&user).cloned().unwrap_or_default();
            emit(user, &before, &before.with(records), &self.of_events, &self.preferences);
        }
    }
}

fn emit(
    user: UserId,
    before: &UserControls,
    after: &UserControls,
    of_events: &Output<EventControlsChange>,
    preferences: &Output<PreferencesChange>,
) {
    let acts = after.has_new(before);
    of_events.buffer().push(EventControlsChange { user, controls: Rc::new(after.of_events()), acts });
    let (old, new) = (before.preferences(), after.preferences());
    if old != new {
        preferences.buffer().push(PreferencesChange { user, preferences: new.into() });
    }
}

impl SlicedOperator for Operator {
    fn due(&self) -> Option<Time> {
        let due = self.next_due().map(first_of).filter(|due| *due < self.end)?;
        Some(self.coalesced.tick_of(due))
    }

    fn begin(&mut self, time: Time) {
        let mut input_ends = false;
        let mut snapshot = None;
        for WorkerBarrier { barrier, .. } in self.barriers.take(time).into_iter().flatten() {
            match barrier {
                Barrier::Coalesce { tick } => self.coalesced.insert(time, tick),
                Barrier::End => self.end = time,
                Barrier::InputEnds => input_ends = true,
                Barrier::LoadBegin => self.snapshots.set_loading(true),
                Barrier::LoadEnd => self.snapshots.set_loading(false),
                Barrier::Snapshot { number, since } => snapshot = Some((number, since)),
                Barrier::EvaluateAll | Barrier::Evaluate { .. } => {}
            }
        }
        if self.coalesced.tick_of(time) != time {
            return; // What is due happens in the tick that stands for this time.
        }
        self.tick(time);
        if input_ends {
            self.end();
        }
        if let Some((number, since)) = snapshot {
            self.snapshots.begin(number, since, self.held.values().flatten());
        }
        self.coalesced.forget_before(time);
    }

    fn deactivate(&mut self, _done_before: Time) {
        self.snapshots.advance(&self.users, &self.activator);
        set(&self.gauges.next_control, self.due().map_or(u64::MAX, ms_of));
        set(&self.gauges.users_with_controls, self.number);
    }
}

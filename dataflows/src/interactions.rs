//! The interactions operator: takes events by user, emits differential collections.
//!
//! It has each user's history anyway, so it joins the history with itself and emits co-occurrence already netted: a
//! repeated touch at the same level emits the pairs that are now close in time or no longer are, a new item emits
//! `2 * history` pairs.

mod history;
mod loading;
mod snapshots;
mod taking_back;
mod timers;
mod trends;
mod updates;
mod user_states;
mod users;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use differential_dataflow::AsCollection;
use schema::Effect;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::{ProbeHandle, Stream};

pub use self::loading::Loading;
use self::snapshots::SnapshotProgress;
use self::user_states::UserStates;
use crate::controls::EventControlsChange;
use crate::gauges::{Gauges, add};
use crate::operators::{CoalescedTicks, StageBuilder, earlier};
use crate::{Collection, Config, Forgotten, ItemId, Level, ProfileItem, Scope, SnapshotSink, Time, UserId, first_of};

/// An event as the graph takes it: validated, its action mapped to an effect, its names to ids. 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The user who acted.
    pub user: UserId,
    /// The item acted on.
    pub item: ItemId,
    /// Milliseconds since the Unix epoch, below [`crate::MAX_MS`]. The event counts from its tick on, or from its own
    /// timestamp on if that is later.
    pub ts: u64,
    /// What the action does.
    pub effect: Effect,
    /// The room, if rooms have trending lists.
    pub scope: Option<Scope>,
}

const _: () = assert!(size_of::<Event>() <= 40, "events are copied and retained by the million");

/// A control record that concerns the state of all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Barrier {
    /// Everything from the time of this barrier up to tick `tick` is taken together: what falls due happens in that tick.
    /// Must be sent at the first of these times, because a worker that passed it without the barrier would act too early.
    Coalesce {
        /// The tick that stands for all.
        tick: Time,
    },
    /// A snapshot is loaded from this tick on. The audience is empty until [`Barrier::LoadEnd`].
    LoadBegin,
    /// The snapshot is completely loaded with this tick, and the audience enters.
    LoadEnd,
    /// No tick follows, and nothing falls due any more. The frontier cannot tell: when the inputs are dropped, it passes through
    /// the times of later timers.
    End,
    /// The lists of all viewers are evaluated in this tick.
    EvaluateAll,
    /// The input has ended: the lists of all viewers are evaluated once more, and the catalogue records ahead of the
    /// clock act for it.
    InputEnds,
    /// The list of a user is evaluated in this tick, if the user is in the audience.
    Evaluate {
        /// The user.
        user: UserId,
    },
    /// The state after this tick is emitted to the [`SnapshotSink`] while events continue.
    Snapshot {
        /// Number of the snapshot, from 1, increasing.
        number: u64,
        /// Key groups that have not changed after this tick may be left out; 0 for none. Loaded state counts as unchanged
        /// since tick 1.
        since: Time,
    },
}

/// A barrier on its way to one worker. [`GraphInput`](crate::GraphInput) sends each barrier to all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerBarrier {
    /// Index of the worker.
    pub worker: u64,
    /// The barrier.
    pub barrier: Barrier,
}

/// The outputs of [`interactions`].
pub struct Interactions<'scope> {
    /// The history of each user with the levels.
    pub history: Collection<'scope, (UserId, (ItemId, Level))>,
    /// Each ordered pair of different items in one history, `min(level, level)` times, twice that if they are close in time.
    pub cooccurrence: Collection<'scope, (ItemId, ItemId)>,
    /// Items that events, retractions or skips of a user name, without an interaction, once for each such user: their names are
    /// needed for snapshots.
    pub traces: Collection<'scope, ItemId>,
    /// The histories of the audience: all items, those of the profile with level and stair, and items that are kept out of the
    /// list, which have neither, as those beyond the profile. On the user's worker.
    pub profiles: Collection<'scope, (UserId, ProfileItem)>,
    /// Users who act in a tick, each once: an event is kept, a retraction or a skip is in force that was not before, or the user
    /// enters the audience. On the user's worker.
    pub actions: Stream<'scope, Time, Vec<UserId>>,
    /// The weight of each item in each scope, a part of it from every worker, if trending lists are configured.
    pub trends: Option<Collection<'scope, (Option<Scope>, ItemId)>>,
    /// Users without state after the tick.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
    /// Ticks in which a snapshot is loaded.
    pub loading: Loading,
}

/// Retains the events of every user that count, and emits histories, what follows from them, and their expiry.
///
/// `downstream` is a probe behind all operators that follow: when a jump in time makes many users due, this operator waits
/// for them. `snapshots` receives the chunks of snapshots.
///
/// Cost of an event: a few passes over the history; `2 * history` pairs for a new item, twice that when it displaces one; for
/// a touch that changes no level two pairs for each item that was near in time or now is. A user's first tick emits all pairs
/// of the history, so a batch emits up to `users * history^2` pairs.
pub fn interactions<'scope>(
    events: Stream<'scope, Time, Vec<Event>>,
    controls: Option<Stream<'scope, Time, Vec<EventControlsChange>>>,
    barriers: Stream<'scope, Time, Vec<WorkerBarrier>>,
    config: &Config,
    downstream: &ProbeHandle<Time>,
    gauges: &Arc<Gauges>,
    snapshots: Option<Box<dyn SnapshotSink<Event>>>,
) -> Interactions<'scope> {
    let mut builder = StageBuilder::new("Interactions", events.scope());
    let activator = builder.activator.clone();
    let events = builder.input(events, Exchange::new(|event: &Event| event.user));
    let controls = controls.map(|controls| builder.input(controls, Pipeline)).unwrap_or_default();
    let barriers = builder.input(barriers, Exchange::new(|barrier: &WorkerBarrier| barrier.worker));
    let (mut history_port, history) = builder.port();
    let (mut pairs_port, pairs) = builder.port();
    let (mut traces_port, traces) = builder.port();
    let (mut profiles_port, profiles) = builder.port();
    let (mut actions_port, actions) = builder.port();
    let (mut forgotten_port, forgotten) = builder.port();
    let (mut trends_port, trends) = config.trending.map(|_| builder.port()).unzip();
    let (downstream, gauges) = (downstream.clone(), Arc::clone(gauges));
    let loading = Loading::default();
    let mut states = UserStates::new(config.clone(), snapshots, loading.clone());
    let mut barriers_by_tick: BTreeMap<Time, Vec<Barrier>> = BTreeMap::new();
    let mut coalesced = CoalescedTicks::default();
    let mut end = Time::MAX;
    let mut in_flight = InFlight::default();

    builder.build_with(move |stage, upper| {
        for (time, batches) in barriers.take_all() {
            for WorkerBarrier { barrier, .. } in batches.into_iter().flatten() {
                match barrier {
                    Barrier::Coalesce { tick } => coalesced.insert(time, tick),
                    Barrier::End => end = time,
                    barrier => barriers_by_tick.entry(time).or_default().push(barrier),
                }
            }
        }
        let mut emitted_in_all = 0;
        loop {
            // A jump in time can make any number of users due: emit no more at a time than is processed downstream.
            if !in_flight.has_room(&downstream) {
                activator.activate();
                break;
            }
            let due = next_due(&states, end).map(|due| coalesced.tick_of(due));
            let arrived = earlier(events.first(), earlier(controls.first(), barriers_by_tick.keys().next().copied()));
            let Some(time) = earlier(arrived, due).filter(|time| *time < upper) else {
                coalesced.forget_before(upper);
                break;
            };
            let mut emitted = 0;
            let barriers = barriers_by_tick.remove(&time).unwrap_or_default();
            let controls = controls.take(time).into_iter().flatten();
            states.tick(time, events.take(time).iter().flatten(), controls, &barriers, &mut |updates| {
                add(&gauges.pair_updates, updates.pairs.len());
                emitted += updates.len();
                let capabilities = &stage.capabilities;
                history_port.give(capabilities, time, &mut updates.history);
                pairs_port.give(capabilities, time, &mut updates.pairs);
                traces_port.give(capabilities, time, &mut updates.traces);
                profiles_port.give(capabilities, time, &mut updates.profiles);
                actions_port.give(capabilities, time, &mut updates.actions);
                forgotten_port.give(capabilities, time, &mut updates.forgotten);
                if let Some(port) = &mut trends_port {
                    port.give(capabilities, time, &mut updates.trends);
                }
            });
            in_flight.push(time, emitted);
            emitted_in_all += emitted;
        }
        // A snapshot advances beside the events: a little when there are few events, and never for more than a small part
        // of what the events cost.
        match states.advance_snapshot(SNAPSHOT_BUDGET + emitted_in_all / 8) {
            SnapshotProgress::Complete => {}
            SnapshotProgress::More => activator.activate(),
            SnapshotProgress::Blocked => activator.activate_after(Duration::from_millis(1)),
        }
        states.set_gauges(&gauges);
        let arrived = earlier(events.first(), earlier(controls.first(), barriers_by_tick.keys().next().copied()));
        stage.capabilities.release_before(earlier(arrived, next_due(&states, end)));
    });

    Interactions {
        history: history.as_collection(),
        cooccurrence: pairs.as_collection(),
        traces: traces.as_collection(),
        profiles: profiles.as_collection(),
        actions,
        trends: trends.map(AsCollection::as_collection),
        forgotten,
        loading,
    }
}

/// Events of a snapshot emitted per activation without input: tens of microseconds.
const SNAPSHOT_BUDGET: usize = 1_000;

/// The time at which something happens without input, before the end.
fn next_due(states: &UserStates, end: Time) -> Option<Time> {
    states.next_due().map(first_of).filter(|due| *due < end)
}

/// Ticks emitted and not yet processed by all operators downstream.
#[derive(Default)]
struct InFlight {
    ticks: VecDeque<(Time, usize)>,
    updates: usize,
}

impl InFlight {
    /// Updates that may be in flight. One tick is emitted whatever its size.
    const MAX_UPDATES: usize = 500_000;
    /// Ticks that may be in flight: the buffers of a small tick outweigh its updates (50,000 ticks took 2 GiB).
    const MAX_TICKS: usize = 100;

    fn has_room(&mut self, downstream: &ProbeHandle<Time>) -> bool {
        while let Some((_, updates)) = self.ticks.front().filter(|(time, _)| !downstream.less_equal(time)) {
            self.updates -= updates;
            self.ticks.pop_front();
        }
        self.updates < Self::MAX_UPDATES && self.ticks.len() < Self::MAX_TICKS
    }

    fn push(&mut self, time: Time, updates: usize) {
        self.ticks.push_back((time, updates));
        self.updates += updates;
    }
}

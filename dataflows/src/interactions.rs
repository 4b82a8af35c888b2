//! The one stateful door: events come in by user, differential collections go out.
//!
//! It holds each user's history anyway, so it multiplies the history with itself on the spot and emits co-occurrence
//! already netted: a re-touch at the same level emits no pair at all, a new item `2 * history` of them.

mod history;
mod loading;
mod saving;
mod timers;
mod trends;
mod updates;
mod user_states;
mod users;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{ProbeHandle, Stream};

pub use self::loading::Loading;
use self::saving::Saved;
use self::updates::Updates;
use self::user_states::UserStates;
use crate::gauges::{Gauges, add};
use crate::operators::{Out, OutputCapabilities, Stash, earlier, give};
use crate::{Collection, Config, Diff, Forgotten, ItemId, Level, Scope, SnapshotSink, Time, UserId, Weight, first_of};

/// An event as the graph sees it: valid, judged, its names interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who acted.
    pub user: UserId,
    /// The product acted on.
    pub item: ItemId,
    /// Milliseconds since the Unix epoch, below [`crate::MAX_MS`].
    pub ts: u64,
    /// How much the action tells, 1 to 15.
    pub level: Level,
}

/// What enters the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// An event. It counts from its tick on, or from its own `ts` on if that is later.
    Event(Event),
    /// An event in a room, if rooms have trending lists: the same, and in the scope of the room.
    InRoom {
        /// As in [`Event`].
        user: UserId,
        /// As in [`Event`].
        item: ItemId,
        /// As in [`Event`].
        ts: u64,
        /// As in [`Event`].
        level: Level,
        /// The key of what trends in the room.
        room: Scope,
    },
    /// Something that concerns all that is held. To be sent to every worker, as each holds a part.
    Barrier {
        /// The worker told.
        worker: u64,
        /// What it is told.
        barrier: Barrier,
    },
}

impl Input {
    /// The event, if it is one, and the scope of its room.
    pub fn event(&self) -> Option<(Event, Option<Scope>)> {
        match *self {
            Input::Event(event) => Some((event, None)),
            Input::InRoom { user, item, ts, level, room } => Some((Event { user, item, ts, level }, Some(room))),
            Input::Barrier { .. } => None,
        }
    }
}

/// What the door is told beside events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Barrier {
    /// From the time of this message on, everything up to tick `tick` is taken together: what falls due happens in that
    /// tick. To be sent at the first time taken together: no worker passes that time without having read it.
    Coalesce {
        /// The tick that stands for all.
        tick: Time,
    },
    /// From this tick on a snapshot is loaded: until all of it is there nobody is in the audience.
    LoadBegin,
    /// With this tick all of a snapshot is there, and the audience enters.
    LoadEnd,
    /// What is held after this tick is to be handed to the [`SnapshotSink`], while events go on.
    Snapshot {
        /// Snapshots are numbered from 1, rising. Only the low 32 bits tell them apart.
        number: u64,
        /// Key groups that have not changed after this tick need not be taken; 0 for all. What was loaded has not changed
        /// since tick 1.
        since: Time,
    },
}

/// What [`interactions`] knows of its users, as collections.
pub struct Interactions<'scope> {
    /// Each user's history with the levels.
    pub history: Collection<'scope, (UserId, (ItemId, Level))>,
    /// Each ordered pair of different items in one history, `min(level, level)` times.
    pub cooccurrence: Collection<'scope, (ItemId, ItemId)>,
    /// The histories of the audience, weighted in stairs; weight 0 beyond them. Lies where the user lies.
    pub profiles: Collection<'scope, (UserId, (ItemId, Weight))>,
    /// The histories of the audience with the levels, if similar users are asked for. Lies where the user lies.
    pub watching: Collection<'scope, (UserId, (ItemId, Level))>,
    /// What each item weighs in each scope, a part of it from every worker, if anything trends.
    pub trends: Option<Collection<'scope, (Scope, ItemId)>>,
    /// Users nothing is held of after the tick.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
    /// In which ticks a snapshot is loaded.
    pub loading: Loading,
}

/// Keeps the counting events of every user and emits histories, what they imply, and their expiry.
///
/// `downstream` is a probe behind everything that follows: when a jump in time makes a crowd due, the door waits for it.
/// `keeper` takes snapshots.
///
/// Cost of an event: `2 * history` pairs for a new item, twice that when it displaces one, none for a touch that changes no
/// level; comparing ids is O(history^2), a microsecond for the default of 50. A user's first tick emits all pairs of the
/// history, so a batch holds up to `users * history^2` of them.
pub fn interactions<'scope>(
    events: Stream<'scope, Time, Vec<Input>>,
    config: &Config,
    downstream: &ProbeHandle<Time>,
    gauges: &Arc<Gauges>,
    keeper: Option<Box<dyn SnapshotSink>>,
) -> Interactions<'scope> {
    let scope = events.scope();
    let mut builder = OperatorBuilder::new("Interactions".into(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let downstream = downstream.clone();
    let by_user = |input: &Input| match input {
        Input::Event(Event { user, .. }) | Input::InRoom { user, .. } => *user,
        Input::Barrier { worker, .. } => *worker,
    };
    let mut input = builder.new_input(events, Exchange::new(by_user));
    let (history_out, history) = builder.new_output();
    let (pairs_out, pairs) = builder.new_output();
    let (profiles_out, profiles) = builder.new_output();
    let (forgotten_out, forgotten) = builder.new_output();
    let (watching_out, watching) = builder.new_output();
    // The last port, so that whoever has no use for it does without.
    let (trends_out, trends) = config.trending.map(|_| builder.new_output()).unzip();
    let config = config.clone();
    let gauges = Arc::clone(gauges);
    let loading = Loading::default();
    let of_door = loading.clone();

    builder.build(move |_| {
        let mut outputs = Outputs {
            history: OutputBuilder::from(history_out),
            pairs: OutputBuilder::from(pairs_out),
            profiles: OutputBuilder::from(profiles_out),
            forgotten: OutputBuilder::from(forgotten_out),
            watching: OutputBuilder::from(watching_out),
            trends: trends_out.map(OutputBuilder::from),
        };
        let mut held = OutputCapabilities::new(5 + usize::from(outputs.trends.is_some()));
        let mut stash: Stash<Input> = Stash::new();
        // From which time on which tick stands for all.
        let mut together: BTreeMap<Time, Time> = BTreeMap::new();
        let mut ahead = Ahead::default();
        let mut door = UserStates::new(config, keeper, of_door);

        move |frontiers| {
            input.for_each(|capability, data| {
                let time = held.retain(&capability);
                data.retain(|input| match input {
                    Input::Barrier { barrier: Barrier::Coalesce { tick }, .. } => {
                        together.insert(time, *tick);
                        false
                    }
                    Input::Event(_) | Input::InRoom { .. } | Input::Barrier { .. } => true,
                });
                if !data.is_empty() {
                    stash.put(time, data);
                }
            });
            let ended = frontiers[0].frontier().is_empty();
            // At the end of the input what has come counts; what would fall due later does not.
            let upper = frontiers[0].frontier().first().copied();
            let upper = upper.or(stash.last().map(|last| last + 1)).unwrap_or_default();
            let mut sent_in_all = 0;
            loop {
                // A jump in time can make any number of users due: no more of it at a time than those behind can take.
                if !ahead.may_go_on(&downstream) {
                    activator.activate();
                    break;
                }
                let due = door.next_due().map(|due| together_at(&together, first_of(due)));
                let Some(time) = earlier(stash.first(), due).filter(|time| *time < upper) else {
                    together.retain(|_, tick| *tick >= upper);
                    break;
                };
                let mut sent = 0;
                door.tick(time, stash.take(time).iter().flatten(), &mut |updates| {
                    add(&gauges.pair_updates, updates.pairs.len());
                    sent += updates.len();
                    outputs.send(updates, &held, time);
                });
                ahead.went(time, sent);
                sent_in_all += sent;
            }
            // A snapshot goes on beside the events: little at a time when they are few, and never for more than a small
            // part of what the events cost.
            match door.save(SAVED_AT_ONCE + sent_in_all / 8) {
                Saved::All => {}
                Saved::Part => activator.activate(),
                Saved::Waits => activator.activate_after(Duration::from_millis(1)),
            }
            door.show(&gauges);
            let due = door.next_due().filter(|_| !ended || stash.first().is_some()).map(first_of);
            held.release_before(earlier(stash.first(), due));
        }
    });

    Interactions {
        history: history.as_collection(),
        cooccurrence: pairs.as_collection(),
        profiles: profiles.as_collection(),
        watching: watching.as_collection(),
        trends: trends.map(AsCollection::as_collection),
        forgotten,
        loading,
    }
}

/// Events of a snapshot handed over at a time: some tens of microseconds.
const SAVED_AT_ONCE: usize = 1_000;

/// The tick in which something due at `due` happens: its own, unless that is taken together with others.
fn together_at(together: &BTreeMap<Time, Time>, due: Time) -> Time {
    let told = together.range(..=due).next_back().map(|(_, tick)| *tick);
    told.filter(|tick| *tick >= due).unwrap_or(due)
}

/// Updates sent and not yet worked off by everything behind.
#[derive(Default)]
struct Ahead {
    ticks: VecDeque<(Time, usize)>,
    updates: usize,
}

impl Ahead {
    /// So many updates may wait; one tick is sent whatever its size.
    const MOST: usize = 500_000;
    /// So many ticks may wait: the buffers of a small one outweigh its updates (50,000 waiting ticks took 2 GiB).
    const MOST_TICKS: usize = 100;

    fn may_go_on(&mut self, downstream: &ProbeHandle<Time>) -> bool {
        while let Some((_, updates)) = self.ticks.front().filter(|(time, _)| !downstream.less_equal(time)) {
            self.updates -= updates;
            self.ticks.pop_front();
        }
        self.updates < Self::MOST && self.ticks.len() < Self::MOST_TICKS
    }

    fn went(&mut self, time: Time, updates: usize) {
        self.ticks.push_back((time, updates));
        self.updates += updates;
    }
}

/// The outputs of the operator, in the order of their ports.
struct Outputs {
    history: Out<((UserId, (ItemId, Level)), Time, Diff)>,
    pairs: Out<((ItemId, ItemId), Time, Diff)>,
    profiles: Out<((UserId, (ItemId, Weight)), Time, Diff)>,
    forgotten: Out<Forgotten>,
    watching: Out<((UserId, (ItemId, Level)), Time, Diff)>,
    trends: Option<Out<((Scope, ItemId), Time, Diff)>>,
}

impl Outputs {
    fn send(&mut self, updates: &mut Updates, held: &OutputCapabilities, time: Time) {
        give(&mut self.history, held, 0, time, &mut updates.history);
        give(&mut self.pairs, held, 1, time, &mut updates.pairs);
        give(&mut self.profiles, held, 2, time, &mut updates.profiles);
        give(&mut self.forgotten, held, 3, time, &mut updates.forgotten);
        give(&mut self.watching, held, 4, time, &mut updates.watching);
        if let Some(trends) = &mut self.trends {
            give(trends, held, 5, time, &mut updates.trends);
        }
    }
}

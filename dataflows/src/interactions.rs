//! The one stateful door: events come in by user, differential collections go out.
//!
//! It holds each user's history anyway, so it multiplies the history with itself on the spot and emits co-occurrence
//! already netted: a re-touch at the same level emits no pair at all, a new item `2 * history` of them.

mod history;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Leave;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{ProbeHandle, Scope, Stream};

use self::history::{Interaction, Touch, Touches};
use self::timers::{Timer, Timers};
use crate::operator::{Held, IdMap, Out, Stash, earlier, give, give_back};
use crate::{Collection, Config, Diff, Forgotten, ItemId, Level, MAX_MS, Time, UserId, Weight, first_of, ms_of};

/// An event as the graph sees it: valid, judged, its names interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who acted.
    pub user: UserId,
    /// The product acted on.
    pub item: ItemId,
    /// Milliseconds since the Unix epoch, below [`MAX_MS`].
    pub ts: u64,
    /// How much the action tells, 1 to 15.
    pub level: Level,
}

/// What enters the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// An event. It counts from its tick on, or from its own `ts` on if that is later.
    Event(Event),
    /// From the time of this message on, everything up to tick `tick` is taken together: what falls due happens in that
    /// tick. To be sent to every worker, as what is due lies with all of them, and at the first time taken together: no
    /// worker passes that time without having read it.
    Together {
        /// The worker told.
        worker: u64,
        /// The tick that stands for all.
        tick: Time,
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
    /// Users nothing is held of after the tick.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
    /// What this worker's door says of itself.
    pub gauges: Arc<Gauges>,
}

impl Interactions<'_> {
    /// The same, outside of the region.
    pub(crate) fn leave(self, outer: Scope<'_, Time>) -> Interactions<'_> {
        Interactions {
            history: self.history.leave_region(outer),
            cooccurrence: self.cooccurrence.leave_region(outer),
            profiles: self.profiles.leave_region(outer),
            forgotten: self.forgotten.leave(outer),
            gauges: self.gauges,
        }
    }
}

/// What a worker's door says of itself after every activation. Read from other threads it may be a moment old, so it
/// says when to look again, never what to compute.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Users of whom something is held.
    pub users: AtomicU64,
    /// Users in the audience.
    pub audience: AtomicU64,
    /// The next millisecond at which something happens without an event; [`u64::MAX`] if never.
    pub next_due: AtomicU64,
}

impl Gauges {
    fn set(&self, door: &Door) {
        self.users.store(door.users.len() as u64, Ordering::Relaxed);
        self.audience.store(door.audience, Ordering::Relaxed);
        self.next_due.store(door.next_due().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Keeps the counting events of every user and emits histories, what they imply, and their expiry.
///
/// `downstream` is a probe behind everything that follows: when a jump in time makes a crowd due, the door waits for it.
///
/// Cost of an event: `2 * history` pairs for a new item, twice that when it displaces one, none for a touch that changes no
/// level; comparing ids is O(history^2), a microsecond for the default of 50. A user's first tick emits all pairs of the
/// history, so a batch holds up to `users * history^2` of them.
pub fn interactions<'scope>(
    events: Stream<'scope, Time, Vec<Input>>,
    config: &Config,
    downstream: &ProbeHandle<Time>,
) -> Interactions<'scope> {
    let scope = events.scope();
    let mut builder = OperatorBuilder::new("Interactions".into(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let downstream = downstream.clone();
    let by_user = |input: &Input| match input {
        Input::Event(event) => event.user,
        Input::Together { worker, .. } => *worker,
    };
    let mut input = builder.new_input(events, Exchange::new(by_user));
    let (history_out, history) = builder.new_output();
    let (pairs_out, pairs) = builder.new_output();
    let (profiles_out, profiles) = builder.new_output();
    let (forgotten_out, forgotten) = builder.new_output();
    let config = config.clone();
    let gauges = Arc::new(Gauges { next_due: AtomicU64::new(u64::MAX), ..Gauges::default() });
    let shown = Arc::clone(&gauges);

    builder.build(move |_| {
        let mut outputs = Outputs {
            history: OutputBuilder::from(history_out),
            pairs: OutputBuilder::from(pairs_out),
            profiles: OutputBuilder::from(profiles_out),
            forgotten: OutputBuilder::from(forgotten_out),
        };
        let mut held = Held::new(4);
        let mut stash: Stash<Input> = Stash::new();
        // From which time on which tick stands for all.
        let mut together: BTreeMap<Time, Time> = BTreeMap::new();
        let mut ahead = Ahead::default();
        let mut door = Door::new(config);

        move |frontiers| {
            input.for_each(|capability, data| {
                let time = held.retain(&capability);
                data.retain(|input| match input {
                    Input::Event(_) => true,
                    Input::Together { tick, .. } => {
                        together.insert(time, *tick);
                        false
                    }
                });
                if !data.is_empty() {
                    stash.put(time, data);
                }
            });
            let ended = frontiers[0].frontier().is_empty();
            // At the end of the input what has come counts; what would fall due later does not.
            let upper = frontiers[0].frontier().first().copied();
            let upper = upper.or(stash.last().map(|last| last + 1)).unwrap_or_default();
            loop {
                // A jump in time can make any number of users due: no more of it at a time than those behind can take.
                if !ahead.may_go_on(&downstream) {
                    activator.activate();
                    break;
                }
                let due = door.next_due().map(|due| together_at(&together, first_of(due)));
                let Some(time) = earlier(stash.first(), due).filter(|time| *time < upper) else { break };
                door.tick(time, &stash.take(time));
                ahead.went(time, door.updates.len());
                outputs.send(&mut door.updates, &held, time);
                together = together.split_off(&time);
            }
            shown.set(&door);
            let due = door.next_due().filter(|_| !ended || stash.first().is_some()).map(first_of);
            held.release_before(earlier(stash.first(), due));
        }
    });

    Interactions {
        history: history.as_collection(),
        cooccurrence: pairs.as_collection(),
        profiles: profiles.as_collection(),
        forgotten,
        gauges,
    }
}

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

    fn may_go_on(&mut self, downstream: &ProbeHandle<Time>) -> bool {
        while let Some((_, updates)) = self.ticks.front().filter(|(time, _)| !downstream.less_equal(time)) {
            self.updates -= updates;
            self.ticks.pop_front();
        }
        self.updates < Self::MOST
    }

    fn went(&mut self, time: Time, updates: usize) {
        self.ticks.push_back((time, updates));
        self.updates += updates;
    }
}

/// Everything held of one user.
#[derive(Default)]
struct User {
    touches: Touches,
    /// Whether the profile is out.
    in_audience: bool,
    timer: Timer,
}

/// An item before and after a tick.
struct Moved {
    item: ItemId,
    old: Option<(usize, Level)>,
    new: Option<(usize, Level)>,
}

impl Moved {
    fn levels(&self) -> (Level, Level) {
        (self.old.map_or(0, |(_, level)| level), self.new.map_or(0, |(_, level)| level))
    }
}

/// The state of the operator on one worker.
struct Door {
    config: Config,
    users: IdMap<User>,
    /// How many of them are in the audience.
    audience: u64,
    timers: Timers,
    /// Events ahead of the clock, by the millisecond at which they count.
    future: BTreeMap<u64, Vec<Event>>,
    updates: Updates,
    /// Room for one user's histories before and after, and for both together.
    before: Vec<Interaction>,
    after: Vec<Interaction>,
    moved: Vec<Moved>,
}

impl Door {
    fn new(config: Config) -> Self {
        Door {
            config,
            users: IdMap::default(),
            audience: 0,
            timers: Timers::default(),
            future: BTreeMap::new(),
            updates: Updates::default(),
            before: Vec::new(),
            after: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// The next millisecond at which something happens without input. Always after the tick last taken.
    fn next_due(&self) -> Option<u64> {
        earlier(self.timers.first(), self.future.keys().next().copied()).map(|ms| ms.min(MAX_MS))
    }

    /// Brings every user that an event or the clock reaches to `time`.
    fn tick(&mut self, time: Time, inputs: &[Input]) {
        let now = ms_of(time);
        self.updates.time = time;
        let mut touched: Vec<(UserId, Touch)> = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Input::Event(event) = *input else { continue };
            if event.ts > now {
                self.future.entry(event.ts).or_default().push(event);
            } else {
                touched.push((event.user, Touch::new(event.item, event.ts, event.level)));
            }
        }
        while let Some(due) = self.future.first_entry().filter(|due| *due.key() <= now) {
            let events = due.remove();
            touched.extend(events.iter().map(|event| (event.user, Touch::new(event.item, event.ts, event.level))));
        }
        touched.sort_unstable_by_key(|(user, _)| *user);
        let mut touches = Vec::new();
        for same in touched.chunk_by(|a, b| a.0 == b.0) {
            touches.clear();
            touches.extend(same.iter().map(|(_, touch)| *touch));
            self.bring(same[0].0, &touches, now);
        }
        while let Some((at, users)) = self.timers.pop(now) {
            for user in users {
                self.remind(user, at, now);
            }
        }
    }

    /// Looks at a user whose timer came: brings it to `now` if it is due, else sets the timers to when it will be.
    fn remind(&mut self, id: UserId, at: u64, now: u64) {
        let Some(user) = self.users.get_mut(&id) else { return };
        if !user.timer.came(at) {
            return;
        }
        let stands = user.in_audience == user.touches.in_audience(now, &self.config);
        match user.touches.expiry(&self.config) {
            Some(expiry) if stands && expiry > now => {
                let exit = user.touches.exit(now, &self.config);
                self.timers.set(id, &mut user.timer, exit, expiry);
            }
            _ => self.bring(id, &[], now),
        }
    }

    /// Takes a user's new events and the passing of time, and emits the difference they make.
    fn bring(&mut self, id: UserId, touches: &[Touch], now: u64) {
        let user = self.users.entry(id).or_default();
        user.touches.history(&mut self.before);
        user.touches.absorb(touches, now, &self.config);
        user.touches.history(&mut self.after);
        let was_in_audience = std::mem::replace(&mut user.in_audience, user.touches.in_audience(now, &self.config));
        self.audience = self.audience + u64::from(user.in_audience) - u64::from(was_in_audience);

        self.moved.clear();
        let before = self.before.iter().enumerate();
        self.moved.extend(before.map(|(rank, (item, level))| Moved {
            item: *item,
            old: Some((rank, *level)),
            new: None,
        }));
        for (rank, (item, level)) in self.after.iter().enumerate() {
            let new = Some((rank, *level));
            match self.moved.iter_mut().find(|moved| moved.item == *item) {
                Some(moved) => moved.new = new,
                None => self.moved.push(Moved { item: *item, old: None, new }),
            }
        }
        self.updates.interactions(id, &mut self.moved);
        self.updates.profile(id, &self.moved, was_in_audience, user.in_audience, &self.config);
        for touch in touches.iter().filter(|touch| !self.moved.iter().any(|moved| moved.item == touch.item)) {
            self.updates.without_effect(id, touch);
        }

        if user.touches.is_empty() {
            self.users.remove(&id);
            give_back(&mut self.users);
            self.updates.forgotten.push(Forgotten::User(id));
        } else if let Some(expiry) = user.touches.expiry(&self.config) {
            let exit = user.touches.exit(now, &self.config);
            self.timers.set(id, &mut user.timer, exit, expiry);
        }
    }
}

/// Updates of one tick, by output.
#[derive(Default)]
struct Updates {
    time: Time,
    history: Vec<((UserId, (ItemId, Level)), Time, Diff)>,
    pairs: Vec<((ItemId, ItemId), Time, Diff)>,
    profiles: Vec<((UserId, (ItemId, Weight)), Time, Diff)>,
    forgotten: Vec<Forgotten>,
}

impl Updates {
    fn len(&self) -> usize {
        self.history.len() + self.pairs.len() + self.profiles.len()
    }

    /// What the changed levels of a user mean for the history and for all pairs in it.
    fn interactions(&mut self, user: UserId, moved: &mut [Moved]) {
        // The changed ones to the front, so that each pair with a changed member is met once.
        let mut changed = 0;
        for index in 0..moved.len() {
            let (old, new) = moved[index].levels();
            if old != new {
                moved.swap(changed, index);
                changed += 1;
            }
        }
        for (index, a) in moved[..changed].iter().enumerate() {
            let (old, new) = a.levels();
            if old > 0 {
                self.history.push(((user, (a.item, old)), self.time, -1));
            }
            if new > 0 {
                self.history.push(((user, (a.item, new)), self.time, 1));
            }
            for b in &moved[index + 1..] {
                let (b_old, b_new) = b.levels();
                let diff = Diff::from(new.min(b_new)) - Diff::from(old.min(b_old));
                if diff != 0 {
                    self.pairs.push(((a.item, b.item), self.time, diff));
                    self.pairs.push(((b.item, a.item), self.time, diff));
                }
            }
        }
    }

    /// What the changed ranks and levels mean for the profile, which is out only while the user is in the audience.
    fn profile(&mut self, user: UserId, moved: &[Moved], was_in: bool, is_in: bool, config: &Config) {
        if !was_in && !is_in {
            return;
        }
        let weight = |(rank, level): (usize, Level)| Weight::from(level) * config.stair(rank);
        for moved in moved {
            let old = moved.old.filter(|_| was_in).map(weight);
            let new = moved.new.filter(|_| is_in).map(weight);
            if old != new {
                self.profiles.extend(old.map(|old| ((user, (moved.item, old)), self.time, -1)));
                self.profiles.extend(new.map(|new| ((user, (moved.item, new)), self.time, 1)));
            }
        }
    }

    /// An event that changes nothing still carried the name of an item, perhaps one that nobody has: an interaction
    /// that comes and goes lets the item's worker see that and have the name forgotten.
    fn without_effect(&mut self, user: UserId, touch: &Touch) {
        let interaction = (user, (touch.item, touch.level()));
        self.history.push((interaction, self.time, 1));
        self.history.push((interaction, self.time, -1));
    }
}

/// The outputs of the operator, in the order of their ports.
struct Outputs {
    history: Out<((UserId, (ItemId, Level)), Time, Diff)>,
    pairs: Out<((ItemId, ItemId), Time, Diff)>,
    profiles: Out<((UserId, (ItemId, Weight)), Time, Diff)>,
    forgotten: Out<Forgotten>,
}

impl Outputs {
    fn send(&mut self, updates: &mut Updates, held: &Held, time: Time) {
        give(&mut self.history, held, 0, time, &mut updates.history);
        give(&mut self.pairs, held, 1, time, &mut updates.pairs);
        give(&mut self.profiles, held, 2, time, &mut updates.profiles);
        give(&mut self.forgotten, held, 3, time, &mut updates.forgotten);
    }
}

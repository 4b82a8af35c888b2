//! The one stateful door: events come in by user, differential collections go out.
//!
//! It holds each user's history anyway, so it multiplies the history with itself on the spot and emits co-occurrence
//! already netted: a re-touch at the same level emits no pair at all, a new item `2 * history` of them.

mod history;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Leave;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use self::history::{Interaction, Touch, Touches};
use self::timers::{NEVER, Timers};
use crate::operator::{Held, IdMap, Out, Stash, earlier, give};
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
    /// The tick stands for all ticks from millisecond `since` on, taken together: what falls due among them happens in
    /// this one. To be sent to every worker, as what is due lies with all of them.
    Since {
        /// The worker told.
        worker: u64,
        /// The first millisecond taken together.
        since: u64,
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

/// What a worker's door says of itself after every tick, for whoever looks from outside; may be a moment old.
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
/// Cost of an event: O(history) for the pairs of a new item, twice that when it displaces one; comparing ids for the
/// history is O(history^2) in the worst case, well below the pairs for the default of 50.
pub fn interactions<'scope>(events: Stream<'scope, Time, Vec<Input>>, config: &Config) -> Interactions<'scope> {
    let mut builder = OperatorBuilder::new("Interactions".into(), events.scope());
    let by_user = |input: &Input| match input {
        Input::Event(event) => event.user,
        Input::Since { worker, .. } => *worker,
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
        let mut door = Door::new(config);

        move |frontiers| {
            input.for_each(|capability, data| {
                let time = held.retain(&capability);
                stash.put(time, data);
            });
            // At the end of the input what has come counts; what would fall due later does not.
            let upper = frontiers[0].frontier().first().copied();
            let upper = upper.or(stash.last().map(|last| last + 1)).unwrap_or_default();
            while let Some((time, inputs)) = next_tick(&mut stash, &door, upper) {
                door.tick(time, &inputs);
                outputs.send(&mut door.updates, &held, time);
            }
            shown.set(&door);
            let ended = frontiers[0].frontier().is_empty();
            let due = door.next_due().filter(|_| !ended).map(first_of);
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

/// The next time before `upper` at which something happens, with its input: a batch, or what falls due before it.
fn next_tick(stash: &mut Stash<Input>, door: &Door, upper: Time) -> Option<(Time, Vec<Input>)> {
    let batch = stash.first().filter(|time| *time < upper);
    let due = door.next_due().map(first_of).filter(|time| *time < upper);
    let Some(batch) = batch else { return due.map(|due| (due, Vec::new())) };
    let since = stash.peek(batch).find_map(|input| match input {
        Input::Since { since, .. } => Some(first_of(*since)),
        Input::Event(_) => None,
    });
    match due {
        Some(due) if due < since.unwrap_or(batch).min(batch) => Some((due, Vec::new())),
        _ => Some((batch, stash.take(batch))),
    }
}

/// Everything held of one user.
struct User {
    touches: Touches,
    /// Whether the profile is out.
    in_audience: bool,
    /// The valid entry in [`Timers`], or [`NEVER`].
    scheduled: u64,
}

impl Default for User {
    fn default() -> Self {
        User { touches: Touches::default(), in_audience: false, scheduled: NEVER }
    }
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

    /// Looks at a user whose timer came: brings it to `now` if it is due, else sets the timer to when it will be.
    fn remind(&mut self, id: UserId, at: u64, now: u64) {
        let Some(user) = self.users.get_mut(&id).filter(|user| user.scheduled == at) else { return };
        user.scheduled = NEVER;
        let stands = user.in_audience == user.touches.in_audience(now, &self.config);
        match user.touches.next_change(now, &self.config) {
            Some(due) if stands && due > now => self.timers.set(id, due, &mut user.scheduled),
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
            self.updates.forgotten.push(Forgotten::User(id));
        } else if let Some(due) = user.touches.next_change(now, &self.config) {
            self.timers.set(id, due, &mut user.scheduled);
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

//! A snapshot under way: which users it still has to take, and those it took early.

use std::collections::BTreeMap;

use super::history::Touches;
use super::users::{SLICES, SLICES_OF_GROUP, User, Users, slice_of};
use crate::{Event, GROUPS, Groups, Scope, SnapshotChunk, SnapshotSink, Time, UserId, group_of};

/// See the module. Without a keeper nothing is noted.
pub(super) struct Saving {
    keeper: Option<Box<dyn SnapshotSink>>,
    /// When each group changed last on this worker; 0 if never.
    changed: [Time; GROUPS],
    /// Whether a snapshot is being loaded: what comes of it, and what of it has expired, is no change of what its files say.
    loading: bool,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    snapshot: u32,
    /// The next slice to be handed over. Those before it are done with.
    next: usize,
    wanted: Option<Groups>,
    /// Events of users that changed before their slice was handed over, those ahead of the clock, and those that trends
    /// are made of.
    early: BTreeMap<usize, Vec<Event>>,
    in_rooms: BTreeMap<usize, Vec<(Event, Scope)>>,
}

impl Saving {
    pub(super) fn new(keeper: Option<Box<dyn SnapshotSink>>) -> Self {
        Saving { keeper, changed: [0; GROUPS], loading: false, under_way: None }
    }

    /// From now on users are loaded, or no more.
    pub(super) fn load(&mut self, loading: bool) {
        self.loading = loading;
    }

    /// To be called before a user changes at `time`, also before it comes into being.
    pub(super) fn before(&mut self, id: UserId, user: &mut User, time: Time) {
        if self.keeper.is_none() {
            return;
        }
        self.touch(id, time);
        let Some(under_way) = &mut self.under_way else { return };
        if user.saved == under_way.snapshot || slice_of(id) < under_way.next {
            return;
        }
        user.saved = under_way.snapshot;
        if under_way.wants(slice_of(id)) && !user.touches.is_empty() {
            under_way.early.entry(slice_of(id)).or_default().extend(user.touches.events(id));
        }
    }

    /// Notes that something is held of a user apart from its touches.
    pub(super) fn touch(&mut self, id: UserId, time: Time) {
        if !self.loading {
            self.changed[usize::from(group_of(id))] = time;
        }
    }

    /// Begins a snapshot of what is held now. `beside`: events that are held beside users' own. One that is still under way is given up.
    pub(super) fn begin(&mut self, snapshot: u64, since: Time, beside: impl Iterator<Item = (Event, Option<Scope>)>) {
        let Some(keeper) = &mut self.keeper else { return };
        let changed = std::array::from_fn(|group| self.changed[group] > since || since == 0);
        keeper.begin(snapshot, &changed);
        let mut early: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
        let mut in_rooms: BTreeMap<usize, Vec<(Event, Scope)>> = BTreeMap::new();
        for (event, room) in beside {
            match room {
                None => early.entry(slice_of(event.user)).or_default().push(event),
                Some(room) => in_rooms.entry(slice_of(event.user)).or_default().push((event, room)),
            }
        }
        self.under_way = Some(UnderWay { snapshot: snapshot as u32, next: 0, wanted: None, early, in_rooms });
    }

    /// Hands over at least one slice, and more while they hold fewer than `budget` events together.
    pub(super) fn proceed(&mut self, users: &Users, mut budget: usize) -> Saved {
        let (Some(keeper), Some(under_way)) = (&mut self.keeper, &mut self.under_way) else { return Saved::All };
        if under_way.wanted.is_none() {
            under_way.wanted = keeper.wanted(u64::from(under_way.snapshot));
        }
        if under_way.wanted.is_none() {
            return Saved::Waits;
        }
        while under_way.next < SLICES {
            if !under_way.wants(under_way.next) {
                under_way.early.remove(&under_way.next);
                under_way.in_rooms.remove(&under_way.next);
                under_way.next += 1;
                continue;
            }
            if budget == 0 {
                return Saved::Part;
            }
            if !keeper.has_room() {
                return Saved::Waits;
            }
            let piece = under_way.piece(users);
            budget = budget.saturating_sub(piece.events.len() + piece.in_rooms.len() + LEAST_OF_SLICE);
            keeper.keep(piece);
        }
        self.under_way = None;
        Saved::All
    }
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// There is none, or it is done with.
    All,
    /// There is more to hand over.
    Part,
    /// There is more, and the keeper cannot take it now.
    Waits,
}

/// What a slice costs beside its events.
const LEAST_OF_SLICE: usize = 10;

impl UnderWay {
    fn wants(&self, slice: usize) -> bool {
        self.wanted.is_none_or(|wanted| wanted[slice / SLICES_OF_GROUP])
    }

    fn piece(&mut self, users: &Users) -> SnapshotChunk {
        let slice = self.next;
        self.next += 1;
        let mut events = self.early.remove(&slice).unwrap_or_default();
        for (id, user) in users.slice(slice).filter(|(_, user)| user.saved != self.snapshot) {
            events.extend(user.touches.events(id));
        }
        SnapshotChunk {
            snapshot: u64::from(self.snapshot),
            group: (slice / SLICES_OF_GROUP) as u8,
            events,
            in_rooms: self.in_rooms.remove(&slice).unwrap_or_default(),
            last: self.next.is_multiple_of(SLICES_OF_GROUP),
        }
    }
}

impl Touches {
    fn events(&self, user: UserId) -> impl Iterator<Item = Event> {
        self.iter().map(move |touch| Event { user, item: touch.item, ts: touch.ts(), level: touch.level() })
    }
}

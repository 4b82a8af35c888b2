use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Options;
use crate::parameters::{
    ACTIVITY, AFTER_VISIT, CLICK, COMMENTS, FROM_CART, GAP_MS, REVISIT, SAME_ROOM, STAYS_AFTER_END, SWITCH,
    TASTE_BROWSES, USERS_PER_SESSION, WITHIN_STREAM, per_visit,
};
use crate::quantiles::Quantiles;
use crate::random::Random;
use crate::rooms::{Room, Rooms};
use crate::tastes::Tastes;
use crate::viewers::{Users, Viewer};

/// What a viewer does, with `View` for any page visit until it is known whether it is a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    View,
    Click,
    Watch,
    Like,
    Comment,
    Share,
    Follow,
    Favourite,
    Cart,
    Purchase,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Action::View => "view",
            Action::Click => "click",
            Action::Watch => "watch",
            Action::Like => "like",
            Action::Comment => "comment",
            Action::Share => "share",
            Action::Follow => "follow",
            Action::Favourite => "favourite",
            Action::Cart => "cart",
            Action::Purchase => "purchase",
        }
    }

    /// Draws an action with the weights of `per_visit`; how much is said and shared depends on the stream.
    fn draw(room: &Room, random: &mut Random) -> Self {
        let weights = [
            (Action::View, 1_000_000),
            (Action::Watch, per_visit::WATCH),
            (Action::Comment, per_visit::LIKE * room.comments / 1_000),
            (Action::Like, per_visit::LIKE),
            (Action::Cart, per_visit::CART),
            (Action::Share, per_visit::LIKE * room.shares / 1_000),
            (Action::Favourite, per_visit::FAVOURITE),
            (Action::Purchase, per_visit::PURCHASE),
            (Action::Follow, per_visit::FOLLOW),
        ];
        let mut at = random.below(weights.iter().map(|(_, weight)| weight).sum());
        for (action, weight) in weights {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return action,
            }
        }
        Action::View
    }
}

/// One event, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) room: u32,
    pub(crate) action: Action,
    /// Nanoseconds since the start of the log.
    pub(crate) at: u64,
    pub(crate) dwell_ms: Option<i64>,
    pub(crate) text: Option<&'static str>,
}

/// The simulation itself: a fixed number of sessions, each with the time of its next event. When one ends, another user
/// takes its place, so the events of all are a sum of independent renewals and their mean rate is exact.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    random: Random,
    tastes: Tastes,
    rooms: Rooms,
    users: Users,
    viewers: Vec<Viewer>,
    /// When each viewer acts next; ties go to the lower number.
    next: BinaryHeap<Reverse<(u64, u32)>>,
    gaps: Quantiles,
}

impl Simulation {
    pub(crate) fn new(options: &Options) -> Self {
        let mut random = Random::new(options.seed);
        let tastes = Tastes::new(options);
        let (median, deviation, most) = GAP_MS;
        let real = Quantiles::lognormal(median, deviation, most);
        let wanted = options.rate * real.mean() / 1_000;
        let sessions = wanted.clamp(1, (u64::from(options.users) / USERS_PER_SESSION).max(1));
        // Too few users for the rate: everybody, host or viewer, lives this many thousandths as fast.
        let haste = options.rate * real.mean() / sessions;
        let gaps = real.scaled(1_000_000_000, haste);
        let mut simulation = Simulation {
            rooms: Rooms::new(options, tastes, haste, &mut random),
            users: Users::new(options.users, ACTIVITY),
            viewers: Vec::new(),
            next: BinaryHeap::new(),
            random,
            tastes,
            gaps,
        };
        for session in 0..u32::try_from(sessions).expect("fewer sessions than users") {
            let viewer = simulation.arrival(0);
            simulation.viewers.push(viewer);
            let first = simulation.gaps.residual(&mut simulation.random);
            simulation.next.push(Reverse((first, session)));
        }
        simulation
    }

    pub(crate) fn tastes(&self) -> Tastes {
        self.tastes
    }

    /// The next event. There is always one.
    pub(crate) fn step(&mut self) -> Step {
        let mut soonest = self.next.peek_mut().expect("there is at least one session, and none is taken out");
        let Reverse((now, session)) = *soonest;
        *soonest = Reverse((now + self.gaps.draw(&mut self.random), session));
        drop(soonest); // sifts it to its new place
        let mut viewer = std::mem::take(&mut self.viewers[session as usize]);
        let step = self.act(&mut viewer, now);
        self.viewers[session as usize] = viewer;
        step
    }

    fn act(&mut self, viewer: &mut Viewer, now: u64) -> Step {
        let mut action = loop {
            self.settle(viewer, now);
            // It begins with a visit, and ends where a visit would follow the last one: so the other actions keep
            // their number per visit.
            let action =
                if viewer.begun { Action::draw(self.rooms.get(viewer.room), &mut self.random) } else { Action::View };
            if action != Action::View || viewer.visits_left > 0 {
                break action;
            }
            self.users.leave(viewer);
            *viewer = self.arrival(now);
        };
        if action == Action::Watch && viewer.since == now {
            action = Action::View; // just come in: nothing has been watched yet
        }
        viewer.begun = true;
        let (action, item) = self.object(viewer, action, now);
        let dwell_ms =
            (action == Action::Watch).then(|| i64::try_from((now - viewer.since) / 1_000_000).unwrap_or(i64::MAX));
        let text = (action == Action::Comment).then(|| *self.random.one_of(&COMMENTS));
        viewer.since = now;
        let step = Step { user: viewer.user, item, room: viewer.room, action, at: now, dwell_ms, text };
        if self.random.happens(SWITCH) {
            self.change_room(viewer, now);
        }
        step
    }

    /// Sees to it that the viewer is in a live room: when the stream has ended, in another, or gone.
    fn settle(&mut self, viewer: &mut Viewer, now: u64) {
        let live = self.rooms.is_live(viewer.room, now, &mut self.random);
        let ended = !live || self.rooms.get(viewer.room).stream != viewer.stream;
        if ended && viewer.begun && !self.random.happens(STAYS_AFTER_END) {
            self.users.leave(viewer);
            *viewer = self.arrival(now);
        } else if ended {
            self.change_room(viewer, now);
        }
    }

    fn change_room(&mut self, viewer: &mut Viewer, now: u64) {
        let taste = self.tastes.deciding(viewer.user, &mut self.random);
        let room = self.rooms.pick(taste, now, &mut self.random);
        self.enter(viewer, room, now);
    }

    /// Somebody comes: to the room of last time, or to one by taste.
    fn arrival(&mut self, now: u64) -> Viewer {
        let (mut viewer, last_room) = self.users.arrive(&mut self.random);
        let known = last_room
            .filter(|_| self.random.happens(SAME_ROOM))
            .filter(|room| self.rooms.is_live(*room, now, &mut self.random));
        let room = known.unwrap_or_else(|| {
            let taste = self.tastes.deciding(viewer.user, &mut self.random);
            self.rooms.pick(taste, now, &mut self.random)
        });
        self.enter(&mut viewer, room, now);
        viewer
    }

    fn enter(&self, viewer: &mut Viewer, room: u32, now: u64) {
        (viewer.room, viewer.stream, viewer.since) = (room, self.rooms.get(room).stream, now);
    }

    /// Which item an action concerns, and whether a visit is a view or a click.
    fn object(&mut self, viewer: &mut Viewer, action: Action, now: u64) -> (Action, u32) {
        match action {
            Action::View | Action::Click => self.visit(viewer, now),
            Action::Cart | Action::Favourite | Action::Purchase => (action, self.wanted(viewer, action)),
            _ => (action, self.rooms.get(viewer.room).product()),
        }
    }

    fn visit(&mut self, viewer: &mut Viewer, now: u64) -> (Action, u32) {
        viewer.visits_left = viewer.visits_left.saturating_sub(1);
        let again =
            if viewer.begun && self.random.happens(REVISIT) { viewer.visited_before(&mut self.random) } else { None };
        if let Some(item) = again {
            return (Action::Click, item);
        }
        let item = self.something_new(viewer, now);
        viewer.remember(item);
        (if self.random.happens(CLICK) { Action::Click } else { Action::View }, item)
    }

    /// Something the viewer has not just visited, as far as a few tries find it.
    fn something_new(&mut self, viewer: &Viewer, now: u64) -> u32 {
        let mut item = self.something(viewer, now);
        for _ in 0..3 {
            if !viewer.has_visited(item) {
                break;
            }
            item = self.something(viewer, now);
        }
        item
    }

    /// The product on show if it gets attention, else another one of the stream, else anything of the viewer's tastes.
    fn something(&mut self, viewer: &Viewer, now: u64) -> u32 {
        let room = self.rooms.get(viewer.room);
        let random = &mut self.random;
        if random.happens(room.attention(now)) {
            room.product()
        } else if random.happens(WITHIN_STREAM) {
            room.any_product(random)
        } else if random.happens(TASTE_BROWSES) {
            self.tastes.item(self.tastes.deciding(viewer.user, random), random)
        } else {
            self.tastes.any_item(random)
        }
    }

    /// What goes into the cart, the favourites or the parcel.
    fn wanted(&mut self, viewer: &mut Viewer, action: Action) -> u32 {
        let random = &mut self.random;
        let visited = if random.happens(AFTER_VISIT) { viewer.visited_before(random) } else { None };
        let mut item = visited.unwrap_or_else(|| self.rooms.get(viewer.room).product());
        match action {
            Action::Cart => viewer.cart = Some(item),
            Action::Purchase if random.happens(FROM_CART) => {
                item = viewer.cart.take().unwrap_or(item);
            }
            _ => {}
        }
        item
    }
}

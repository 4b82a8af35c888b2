use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Options;
use crate::parameters::{
    ACTIVITY, AFTER_VISIT, CHANGES_ROOM, CHANGES_ROOM_AFTER_END, CLICK, COMMENTS, FROM_CART, GAP_MS, REVISIT,
    SAME_ROOM, TASTE_BROWSES, USERS_PER_SESSION, WITHIN_STREAM, per_visit,
};
use crate::population::{Population, Session};
use crate::quantiles::Quantiles;
use crate::random::Random;
use crate::rooms::{Room, Rooms};
use crate::tastes::Tastes;

/// Action of a viewer. `View` stands for any page visit until [`Simulation::visit`] decides whether it is a click.
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

    /// Draws an action with the weights of `per_visit`. The weights of comments and shares depend on the stream.
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

/// One event; user, item and room are numbers, not names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberedEvent {
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) room: u32,
    pub(crate) action: Action,
    /// Nanoseconds since the start of the log.
    pub(crate) at: u64,
    pub(crate) dwell_ms: Option<i64>,
    pub(crate) text: Option<&'static str>,
}

/// Discrete-event simulation with a fixed number of sessions, each with the time of its next event. When a session ends,
/// another user takes its slot. All events together are a sum of independent renewal processes, so their mean rate is exact.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    random: Random,
    tastes: Tastes,
    rooms: Rooms,
    users: Population,
    sessions: Vec<Session>,
    /// Time of the next event and session slot; ties go to the lower slot.
    schedule: BinaryHeap<Reverse<(u64, u32)>>,
    gaps: Quantiles,
}

impl Simulation {
    pub(crate) fn new(options: &Options) -> Self {
        let mut random = Random::new(options.seed);
        let tastes = Tastes::new(options);
        let (median, deviation, most) = GAP_MS;
        let gaps_ms = Quantiles::lognormal(median, deviation, most);
        let needed = options.rate * gaps_ms.mean() / 1_000;
        let sessions = needed.clamp(1, (u64::from(options.users) / USERS_PER_SESSION).max(1));
        // With too few users for the rate, all viewers and hosts act faster by this factor, in thousandths.
        let speedup = options.rate * gaps_ms.mean() / sessions;
        let gaps = gaps_ms.scaled(1_000_000_000, speedup);
        let mut simulation = Simulation {
            rooms: Rooms::new(options, tastes, speedup, &mut random),
            users: Population::new(options.users, ACTIVITY),
            sessions: Vec::new(),
            schedule: BinaryHeap::new(),
            random,
            tastes,
            gaps,
        };
        for slot in 0..u32::try_from(sessions).expect("fewer sessions than users") {
            let session = simulation.start_session(0);
            simulation.sessions.push(session);
            let first = simulation.gaps.residual(&mut simulation.random);
            simulation.schedule.push(Reverse((first, slot)));
        }
        simulation
    }

    pub(crate) fn tastes(&self) -> Tastes {
        self.tastes
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    pub(crate) fn rooms_mut(&mut self) -> &mut Rooms {
        &mut self.rooms
    }

    /// Time of the next event in nanoseconds.
    pub(crate) fn next_time(&self) -> u64 {
        self.schedule.peek().map_or(u64::MAX, |Reverse((time, _))| *time)
    }

    /// The next event. The simulation never ends.
    pub(crate) fn next_event(&mut self) -> NumberedEvent {
        let mut first = self.schedule.peek_mut().expect("at least one session, and none is removed");
        let Reverse((now, slot)) = *first;
        *first = Reverse((now + self.gaps.draw(&mut self.random), slot));
        drop(first); // restores the heap order
        let mut session = std::mem::take(&mut self.sessions[slot as usize]);
        let event = self.act(&mut session, now);
        self.sessions[slot as usize] = session;
        event
    }

    fn act(&mut self, session: &mut Session, now: u64) -> NumberedEvent {
        let mut action = loop {
            self.ensure_live_room(session, now);
            // A session starts with a visit and ends when a visit is drawn after its last one. That keeps the number of
            // other actions per visit.
            let action = if session.started {
                Action::draw(self.rooms.get(session.room), &mut self.random)
            } else {
                Action::View
            };
            if action != Action::View || session.visits_left > 0 {
                break action;
            }
            self.users.end_session(session);
            *session = self.start_session(now);
        };
        if action == Action::Watch && session.since == now {
            action = Action::View; // nothing was watched yet
        }
        session.started = true;
        let (action, item) = self.choose_item(session, action, now);
        let dwell_ms =
            (action == Action::Watch).then(|| i64::try_from((now - session.since) / 1_000_000).unwrap_or(i64::MAX));
        let text = (action == Action::Comment).then(|| *self.random.one_of(&COMMENTS));
        session.since = now;
        let event = NumberedEvent { user: session.user, item, room: session.room, action, at: now, dwell_ms, text };
        if self.random.happens(CHANGES_ROOM) {
            self.change_room(session, now);
        }
        event
    }

    /// Ensures that the session is in a live room. When its stream has ended, the viewer changes rooms, or leaves and
    /// another session takes the slot.
    fn ensure_live_room(&mut self, session: &mut Session, now: u64) {
        let live = self.rooms.is_live(session.room, now, &mut self.random);
        let ended = !live || self.rooms.get(session.room).stream != session.stream;
        if ended && session.started && !self.random.happens(CHANGES_ROOM_AFTER_END) {
            self.users.end_session(session);
            *session = self.start_session(now);
        } else if ended {
            self.change_room(session, now);
        }
    }

    fn change_room(&mut self, session: &mut Session, now: u64) {
        let taste = self.tastes.deciding(session.user, &mut self.random);
        let room = self.rooms.pick(taste, now, &mut self.random);
        self.enter(session, room, now);
    }

    /// Starts a session of another user, in the room of the previous session or in one by taste.
    fn start_session(&mut self, now: u64) -> Session {
        let (mut session, last_room) = self.users.start_session(&mut self.random);
        let same_room = last_room
            .filter(|_| self.random.happens(SAME_ROOM))
            .filter(|room| self.rooms.is_live(*room, now, &mut self.random));
        let room = same_room.unwrap_or_else(|| {
            let taste = self.tastes.deciding(session.user, &mut self.random);
            self.rooms.pick(taste, now, &mut self.random)
        });
        self.enter(&mut session, room, now);
        session
    }

    fn enter(&self, session: &mut Session, room: u32, now: u64) {
        (session.room, session.stream, session.since) = (room, self.rooms.get(room).stream, now);
    }

    /// Chooses the item of an action, and for a visit whether it is a view or a click.
    fn choose_item(&mut self, session: &mut Session, action: Action, now: u64) -> (Action, u32) {
        match action {
            Action::View | Action::Click => self.visit(session, now),
            Action::Cart | Action::Favourite | Action::Purchase => (action, self.target_item(session, action)),
            _ => (action, self.rooms.get(session.room).product()),
        }
    }

    fn visit(&mut self, session: &mut Session, now: u64) -> (Action, u32) {
        session.visits_left = session.visits_left.saturating_sub(1);
        let revisited = if session.started && self.random.happens(REVISIT) {
            session.random_visited(&mut self.random)
        } else {
            None
        };
        if let Some(item) = revisited {
            return (Action::Click, item);
        }
        let item = self.new_item(session, now);
        session.remember(item);
        (if self.random.happens(CLICK) { Action::Click } else { Action::View }, item)
    }

    /// An item that the viewer has not visited recently; best effort, four tries.
    fn new_item(&mut self, session: &Session, now: u64) -> u32 {
        let mut item = self.candidate_item(session, now);
        for _ in 0..3 {
            if !session.has_visited(item) {
                break;
            }
            item = self.candidate_item(session, now);
        }
        item
    }

    /// The product on show if it gets attention, else another product of the stream, else an item of the viewer's tastes.
    fn candidate_item(&mut self, session: &Session, now: u64) -> u32 {
        let room = self.rooms.get(session.room);
        let random = &mut self.random;
        if random.happens(room.attention(now)) {
            room.product()
        } else if random.happens(WITHIN_STREAM) {
            room.any_product(random)
        } else if random.happens(TASTE_BROWSES) {
            self.tastes.item(self.tastes.deciding(session.user, random), random)
        } else {
            self.tastes.any_item(random)
        }
    }

    /// The item of a cart, favourite or purchase.
    fn target_item(&mut self, session: &mut Session, action: Action) -> u32 {
        let random = &mut self.random;
        let visited = if random.happens(AFTER_VISIT) { session.random_visited(random) } else { None };
        let mut item = visited.unwrap_or_else(|| self.rooms.get(session.room).product());
        match action {
            Action::Cart => session.cart = Some(item),
            Action::Purchase if random.happens(FROM_CART) => {
                item = session.cart.take().unwrap_or(item);
            }
            _ => {}
        }
        item
    }
}

use crate::parameters::{FEWEST_VISITS, VISITS};
use crate::quantiles::Quantiles;
use crate::random::Random;

/// Items a viewer may come back to.
const REMEMBERED: usize = 6;

/// One session: somebody in a room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Viewer {
    pub(crate) user: u32,
    pub(crate) room: u32,
    /// The stream of the room that the viewer entered.
    pub(crate) stream: u32,
    /// When the viewer last did something or entered the room, ns.
    pub(crate) since: u64,
    /// Page visits until the session ends.
    pub(crate) visits_left: u64,
    /// Whether the session has begun with a visit.
    pub(crate) begun: bool,
    /// What lies in the cart, as far as this session put it there.
    pub(crate) cart: Option<u32>,
    /// The item visited last, of all the user's sessions.
    last_visited: Option<u32>,
    visited: [u32; REMEMBERED],
    known: usize,
    oldest: usize,
}

impl Viewer {
    /// Notes a visit. The oldest gives way.
    pub(crate) fn remember(&mut self, item: u32) {
        self.last_visited = Some(item);
        if self.has_visited(item) {
            return;
        }
        if self.known < REMEMBERED {
            self.visited[self.known] = item;
            self.known += 1;
        } else {
            self.visited[self.oldest] = item;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
    }

    pub(crate) fn has_visited(&self, item: u32) -> bool {
        self.visited[..self.known].contains(&item)
    }

    /// One of the items visited before, if any.
    pub(crate) fn visited_before(&self, random: &mut Random) -> Option<u32> {
        let known = &self.visited[..self.known];
        (!known.is_empty()).then(|| *random.one_of(known))
    }
}

/// What remains of a user between sessions.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    in_session: bool,
    room: u32,
    /// The item visited last. Nobody who never came has one.
    item: Option<u32>,
}

/// All users, and who comes next.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    past: Vec<Past>,
    by_activity: Quantiles,
    visits: Quantiles,
}

impl Users {
    pub(crate) fn new(users: u32, activity: f64) -> Self {
        let (median, deviation, most) = VISITS;
        Users {
            past: vec![Past::default(); users as usize],
            by_activity: Quantiles::by_activity(users, activity),
            visits: Quantiles::lognormal(median, deviation, most),
        }
    }

    /// Somebody who is not in a session comes: a viewer without a room, and the room of last time, if there was one.
    pub(crate) fn arrive(&mut self, random: &mut Random) -> (Viewer, Option<u32>) {
        let user = self.somebody(random);
        let past = &mut self.past[user as usize];
        past.in_session = true;
        let visits_left = ((self.visits.draw(random) + 500) / 1_000).max(FEWEST_VISITS);
        let mut viewer = Viewer { user, visits_left, ..Viewer::default() };
        let Past { room, item, .. } = *past;
        if let Some(item) = item {
            viewer.remember(item);
        }
        (viewer, item.map(|_| room))
    }

    /// A session ends.
    pub(crate) fn leave(&mut self, viewer: &Viewer) {
        self.past[viewer.user as usize] = Past { in_session: false, room: viewer.room, item: viewer.last_visited };
    }

    /// By activity, among those not in a session. There are always some: sessions are a fraction of the users.
    fn somebody(&self, random: &mut Random) -> u32 {
        let last = self.past.len() - 1;
        let mut user = 0;
        for _ in 0..8 {
            user = usize::try_from(self.by_activity.draw(random)).map_or(last, |user| user.min(last));
            if !self.past[user].in_session {
                break;
            }
        }
        while self.past[user].in_session {
            user = if user == last { 0 } else { user + 1 };
        }
        u32::try_from(user).expect("users are numbered in 32 bits")
    }
}

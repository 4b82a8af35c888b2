use crate::parameters::{FEWEST_VISITS, VISITS};
use crate::quantiles::Quantiles;
use crate::random::Random;

/// Items that a viewer may revisit.
const REMEMBERED: usize = 6;

/// One session of a user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) user: u32,
    pub(crate) room: u32,
    /// Stream of the room at the time the viewer entered.
    pub(crate) stream: u32,
    /// Time of the last event or of entering the room, in ns.
    pub(crate) since: u64,
    /// Page visits until the session ends.
    pub(crate) visits_left: u64,
    /// Whether the first visit was made.
    pub(crate) started: bool,
    /// Item put into the cart last in this session.
    pub(crate) cart: Option<u32>,
    /// Item visited last, over all sessions of the user.
    last_visited: Option<u32>,
    /// Ring buffer of visited items.
    visited: [u32; REMEMBERED],
    len: usize,
    oldest: usize,
}

impl Session {
    /// Records a visit. The oldest item is evicted.
    pub(crate) fn remember(&mut self, item: u32) {
        self.last_visited = Some(item);
        if self.has_visited(item) {
            return;
        }
        if self.len < REMEMBERED {
            self.visited[self.len] = item;
            self.len += 1;
        } else {
            self.visited[self.oldest] = item;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
    }

    pub(crate) fn has_visited(&self, item: u32) -> bool {
        self.visited[..self.len].contains(&item)
    }

    /// A uniformly drawn visited item, if there is one.
    pub(crate) fn random_visited(&self, random: &mut Random) -> Option<u32> {
        let visited = &self.visited[..self.len];
        (!visited.is_empty()).then(|| *random.one_of(visited))
    }
}

/// State of a user that is kept between sessions.
#[derive(Clone, Copy, Debug, Default)]
struct UserState {
    in_session: bool,
    room: u32,
    /// Item visited last; absent before the first session.
    item: Option<u32>,
}

/// All users; draws the user of the next session.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    states: Vec<UserState>,
    by_activity: Quantiles,
    visits: Quantiles,
}

impl Population {
    pub(crate) fn new(users: u32, activity: f64) -> Self {
        let (median, deviation, most) = VISITS;
        Population {
            states: vec![UserState::default(); users as usize],
            by_activity: Quantiles::by_activity(users, activity),
            visits: Quantiles::lognormal(median, deviation, most),
        }
    }

    /// Starts a session of a user who has none. Returns it without a room, and the room of the previous session, if any.
    pub(crate) fn start_session(&mut self, random: &mut Random) -> (Session, Option<u32>) {
        let user = self.draw_inactive_user(random);
        let state = &mut self.states[user as usize];
        state.in_session = true;
        let visits_left = ((self.visits.draw(random) + 500) / 1_000).max(FEWEST_VISITS);
        let mut session = Session { user, visits_left, ..Session::default() };
        let UserState { room, item, .. } = *state;
        if let Some(item) = item {
            session.remember(item);
        }
        (session, item.map(|_| room))
    }

    /// Ends a session.
    pub(crate) fn end_session(&mut self, session: &Session) {
        self.states[session.user as usize] =
            UserState { in_session: false, room: session.room, item: session.last_visited };
    }

    /// Draws by activity among the users without a session. There are always some: sessions are a fraction of the users.
    fn draw_inactive_user(&self, random: &mut Random) -> u32 {
        let last = self.states.len() - 1;
        let mut user = 0;
        for _ in 0..8 {
            user = usize::try_from(self.by_activity.draw(random)).map_or(last, |user| user.min(last));
            if !self.states[user].in_session {
                break;
            }
        }
        while self.states[user].in_session {
            user = if user == last { 0 } else { user + 1 };
        }
        u32::try_from(user).expect("users are numbered in 32 bits")
    }
}

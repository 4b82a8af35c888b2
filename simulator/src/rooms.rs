use crate::Options;
use crate::parameters::{
    ATTENTION_FIRST, ATTENTION_LAST, COMMENTS_PER_LIKE, DARK_MS, PRODUCTS, ROOM_SIZE, SHARES_PER_LIKE, SHOW_MS,
    STREAM_MS, STREAM_TASTE, TASTE_PICKS_ROOM,
};
use crate::quantiles::Quantiles;
use crate::random::{Chance, Random};
use crate::tastes::Tastes;

/// One stream of a room: what is shown, and how its viewers behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// Which stream of the room this is.
    pub(crate) stream: u32,
    /// Comments per thousand likes.
    pub(crate) comments: u64,
    /// Shares per thousand likes.
    pub(crate) shares: u64,
    live_from: u64,
    live_until: u64,
    products: Vec<u32>,
    shown: usize,
    shown_from: u64,
    shown_until: u64,
}

impl Room {
    /// The product being shown.
    pub(crate) fn product(&self) -> u32 {
        self.products[self.shown]
    }

    /// Any product of the stream.
    pub(crate) fn any_product(&self, random: &mut Random) -> u32 {
        *random.one_of(&self.products)
    }

    /// The chance that a new visit goes to the product on show: a burst when it comes on, then less and less.
    pub(crate) fn attention(&self, now: u64) -> Chance {
        const FIRST: u64 = Chance::of(ATTENTION_FIRST).parts();
        const LAST: u64 = Chance::of(ATTENTION_LAST).parts();
        let length = self.shown_until - self.shown_from;
        let gone = now.saturating_sub(self.shown_from).min(length);
        Chance::from_parts(FIRST - (FIRST - LAST) * (gone * 1_024 / length) / 1_024)
    }

    fn is_live(&self, now: u64) -> bool {
        self.live_from <= now && now < self.live_until
    }
}

/// All rooms, brought forward in time when somebody looks at one.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    all: Vec<Room>,
    /// Room numbers grouped by taste, with the running sum of their sizes: a draw of a group is a search in its slice.
    grouped: Vec<(u64, u32)>,
    /// Where the group of each taste starts; one more than there are tastes.
    groups: Vec<usize>,
    tastes: Tastes,
    comments: Quantiles,
    shares: Quantiles,
    /// How much faster than real viewers the log runs, in thousandths.
    haste: u64,
}

impl Rooms {
    pub(crate) fn new(options: &Options, tastes: Tastes, haste: u64, random: &mut Random) -> Self {
        let (grouped, groups) = sized(options.rooms, tastes, random);
        let (median, deviation) = COMMENTS_PER_LIKE;
        let comments = Quantiles::lognormal(median, deviation, 1e5);
        let (median, deviation) = SHARES_PER_LIKE;
        let shares = Quantiles::lognormal(median, deviation, 1e5);
        let all = vec![Room::default(); options.rooms as usize];
        let mut rooms = Rooms { all, grouped, groups, tastes, comments, shares, haste };
        for room in 0..options.rooms {
            rooms.place_in_time(room, random);
        }
        rooms
    }

    pub(crate) fn get(&self, room: u32) -> &Room {
        &self.all[room as usize]
    }

    /// Whether the room is live, after it has moved on to `now`: to the next product, the end, the next stream.
    pub(crate) fn is_live(&mut self, room: u32, now: u64, random: &mut Random) -> bool {
        while now >= self.get(room).live_until {
            let dark = self.hasten(random.between(DARK_MS));
            self.go_live(room, self.get(room).live_until + dark, random);
        }
        let haste = self.haste;
        let room = &mut self.all[room as usize];
        if !room.is_live(now) {
            return false;
        }
        while now >= room.shown_until {
            room.shown = (room.shown + 1) % room.products.len();
            room.shown_from = room.shown_until;
            room.shown_until += nanos(random.between(SHOW_MS), haste);
        }
        true
    }

    /// A live room for a viewer with this taste. Who finds the favourite rooms dark goes where most
    /// are, or anywhere; and if all were dark, the host of the last one goes live: a viewer is always somewhere.
    pub(crate) fn pick(&mut self, taste: u32, now: u64, random: &mut Random) -> u32 {
        let all = 0..self.grouped.len();
        let group = self.groups[taste as usize]..self.groups[taste as usize + 1];
        let mut room = 0;
        for tries in 0..30 {
            room = match tries {
                0..4 if random.happens(TASTE_PICKS_ROOM) => self.draw(group.clone(), random),
                0..12 => self.draw(all.clone(), random),
                _ => random.one_of(&self.grouped).1,
            };
            if self.is_live(room, now, random) {
                return room;
            }
        }
        self.go_live(room, now, random);
        room
    }

    fn draw(&self, of: std::ops::Range<usize>, random: &mut Random) -> u32 {
        let before = of.start.checked_sub(1).map_or(0, |last| self.grouped[last].0);
        let of = &self.grouped[of];
        let at = before + random.below(of[of.len() - 1].0 - before);
        of[of.partition_point(|(sum, _)| *sum <= at)].1
    }

    /// The state of a room at time 0: dark or live as often as rooms are, and somewhere in the middle of it.
    fn place_in_time(&mut self, room: u32, random: &mut Random) {
        let (stream, dark) = (random.between(STREAM_MS), random.between(DARK_MS));
        let (stream, dark) = (self.hasten(stream), self.hasten(dark));
        let phase = random.below(stream + dark);
        if phase < stream {
            self.go_live(room, 0, random);
            self.all[room as usize].live_until = stream - phase;
        } else {
            self.go_live(room, stream + dark - phase, random);
        }
    }

    fn go_live(&mut self, room: u32, from: u64, random: &mut Random) {
        let products = random.between(PRODUCTS);
        let taste = self.tastes.of(room);
        let live_until = from + self.hasten(random.between(STREAM_MS));
        let shown_until = from + self.hasten(random.between(SHOW_MS));
        let (comments, shares) = (self.comments.draw(random), self.shares.draw(random));
        let tastes = self.tastes;
        let room = &mut self.all[room as usize];
        room.products.clear();
        room.products.extend(
            (0..products).map(|_| {
                if random.happens(STREAM_TASTE) { tastes.item(taste, random) } else { tastes.any_item(random) }
            }),
        );
        room.stream = room.stream.wrapping_add(1);
        (room.comments, room.shares) = (comments, shares);
        (room.live_from, room.live_until) = (from, live_until);
        (room.shown, room.shown_from, room.shown_until) = (0, from, shown_until);
    }

    fn hasten(&self, ms: u64) -> u64 {
        nanos(ms, self.haste)
    }
}

/// Milliseconds of the simulation's own pace as nanoseconds of the log.
fn nanos(ms: u64, haste: u64) -> u64 {
    (ms * 1_000_000_000 / haste).max(1)
}

/// Rooms by taste with their sizes. The sizes are the same evenly spaced quantiles for every seed; the seed says who has which.
fn sized(rooms: u32, tastes: Tastes, random: &mut Random) -> (Vec<(u64, u32)>, Vec<usize>) {
    let sizes = Quantiles::lognormal(1_000.0, ROOM_SIZE, 1e9);
    let mut order: Vec<u32> = (0..rooms).collect();
    for last in (1..rooms).rev() {
        order.swap(last as usize, random.index(last + 1) as usize);
    }
    let mut sum = 0;
    let mut grouped = Vec::with_capacity(rooms as usize);
    let mut groups = vec![0];
    for taste in 0..tastes.count() {
        for room in (taste..rooms).step_by(tastes.count() as usize) {
            let place = (u64::from(order[room as usize]) * 2 + 1) << 31;
            let fraction = u32::try_from(place / u64::from(rooms)).expect("a place below 2^32 of all");
            sum += sizes.at(fraction).max(1);
            grouped.push((sum, room));
        }
        groups.push(grouped.len());
    }
    (grouped, groups)
}

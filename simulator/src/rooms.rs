use crate::Options;
use crate::parameters::{
    ATTENTION_FIRST, ATTENTION_LAST, COMMENTS_PER_LIKE, DARK_MS, PRODUCTS, ROOM_SIZE, SHARES_PER_LIKE, SHOW_MS,
    STREAM_MS, STREAM_TASTE, TASTE_PICKS_ROOM,
};
use crate::quantiles::Quantiles;
use crate::random::{Chance, Random};
use crate::tastes::Tastes;

/// Current stream of a room: its products and the behaviour of its viewers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// Number of the stream in this room.
    pub(crate) stream: u32,
    /// Comments per thousand likes.
    pub(crate) comments: u64,
    /// Shares per thousand likes.
    pub(crate) shares: u64,
    /// Start of the stream, in ns like all times. It may lie in the future.
    pub(crate) live_start: u64,
    /// End of the stream.
    pub(crate) live_end: u64,
    /// Products of the stream, shown in turn; a product may occur more than once.
    pub(crate) products: Vec<u32>,
    /// Place of the product on show.
    pub(crate) on_show: usize,
    show_start: u64,
    /// End of the show; the next product follows.
    pub(crate) show_end: u64,
}

impl Room {
    /// The product on show.
    pub(crate) fn product(&self) -> u32 {
        self.products[self.on_show]
    }

    /// A uniformly drawn product of the stream.
    pub(crate) fn any_product(&self, random: &mut Random) -> u32 {
        *random.one_of(&self.products)
    }

    /// Probability that a new visit goes to the product on show; it falls linearly during the show.
    pub(crate) fn attention(&self, now: u64) -> Chance {
        const FIRST: u64 = Chance::of(ATTENTION_FIRST).parts();
        const LAST: u64 = Chance::of(ATTENTION_LAST).parts();
        let length = self.show_end - self.show_start;
        let elapsed = now.saturating_sub(self.show_start).min(length);
        Chance::from_parts(FIRST - (FIRST - LAST) * (elapsed * 1_024 / length) / 1_024)
    }

    fn is_live(&self, now: u64) -> bool {
        self.live_start <= now && now < self.live_end
    }
}

/// All rooms. A room is advanced in time only when it is accessed.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    all: Vec<Room>,
    /// Cumulative size and room number, grouped by taste. Drawing from a group is a binary search in its slice.
    grouped: Vec<(u64, u32)>,
    /// Start of the group of each taste, and the end of the last one.
    groups: Vec<usize>,
    tastes: Tastes,
    comments: Quantiles,
    shares: Quantiles,
    /// Speed of the log relative to real viewers, in thousandths.
    speedup: u64,
    /// Rooms whose stream or product on show has changed since the last [`Rooms::take_changed`], if that is recorded.
    changed: Option<Vec<u32>>,
}

impl Rooms {
    pub(crate) fn new(options: &Options, tastes: Tastes, speedup: u64, random: &mut Random) -> Self {
        let (grouped, groups) = rooms_by_taste(options.rooms, tastes, random);
        let (median, deviation) = COMMENTS_PER_LIKE;
        let comments = Quantiles::lognormal(median, deviation, 1e5);
        let (median, deviation) = SHARES_PER_LIKE;
        let shares = Quantiles::lognormal(median, deviation, 1e5);
        let all = vec![Room::default(); options.rooms as usize];
        let mut rooms = Rooms { all, grouped, groups, tastes, comments, shares, speedup, changed: None };
        for room in 0..options.rooms {
            rooms.init_phase(room, random);
        }
        rooms
    }

    pub(crate) fn get(&self, room: u32) -> &Room {
        &self.all[room as usize]
    }

    /// Records from now on which rooms change.
    pub(crate) fn record_changes(&mut self) {
        self.changed = Some(Vec::new());
    }

    /// The next room that has changed, if changes are recorded. A room may come more than once.
    pub(crate) fn take_changed(&mut self) -> Option<u32> {
        self.changed.as_mut()?.pop()
    }

    /// Advances the room to `now` (next product, end, next stream) and returns whether it is live.
    pub(crate) fn is_live(&mut self, room: u32, now: u64, random: &mut Random) -> bool {
        while now >= self.get(room).live_end {
            let dark = self.to_log_time(random.between(DARK_MS));
            self.go_live(room, self.get(room).live_end + dark, random);
        }
        let (speedup, number) = (self.speedup, room);
        let room = &mut self.all[room as usize];
        if !room.is_live(now) {
            return false;
        }
        if let Some(changed) = self.changed.as_mut().filter(|_| now >= room.show_end) {
            changed.push(number);
        }
        while now >= room.show_end {
            room.on_show = (room.on_show + 1) % room.products.len();
            room.show_start = room.show_end;
            room.show_end += nanos(random.between(SHOW_MS), speedup);
        }
        true
    }

    /// A live room for a viewer with this taste: by taste, then by size, then any. If all tries hit dark rooms, the last
    /// one goes live, so that a viewer always has a room.
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

    fn draw(&self, range: std::ops::Range<usize>, random: &mut Random) -> u32 {
        let before = range.start.checked_sub(1).map_or(0, |last| self.grouped[last].0);
        let group = &self.grouped[range];
        let at = before + random.below(group[group.len() - 1].0 - before);
        group[group.partition_point(|(sum, _)| *sum <= at)].1
    }

    /// Puts the room at a random phase of its live/dark cycle at time 0.
    fn init_phase(&mut self, room: u32, random: &mut Random) {
        let (stream, dark) = (random.between(STREAM_MS), random.between(DARK_MS));
        let (stream, dark) = (self.to_log_time(stream), self.to_log_time(dark));
        let phase = random.below(stream + dark);
        if phase < stream {
            self.go_live(room, 0, random);
            self.all[room as usize].live_end = stream - phase;
        } else {
            self.go_live(room, stream + dark - phase, random);
        }
    }

    fn go_live(&mut self, room: u32, from: u64, random: &mut Random) {
        let products = random.between(PRODUCTS);
        let taste = self.tastes.of(room);
        let live_end = from + self.to_log_time(random.between(STREAM_MS));
        let show_end = from + self.to_log_time(random.between(SHOW_MS));
        let (comments, shares) = (self.comments.draw(random), self.shares.draw(random));
        let tastes = self.tastes;
        if let Some(changed) = &mut self.changed {
            changed.push(room);
        }
        let room = &mut self.all[room as usize];
        room.products.clear();
        room.products.extend(
            (0..products).map(|_| {
                if random.happens(STREAM_TASTE) { tastes.item(taste, random) } else { tastes.any_item(random) }
            }),
        );
        room.stream = room.stream.wrapping_add(1);
        (room.comments, room.shares) = (comments, shares);
        (room.live_start, room.live_end) = (from, live_end);
        (room.on_show, room.show_start, room.show_end) = (0, from, show_end);
    }

    /// Nanoseconds of the log that pass while this many milliseconds pass for viewers and hosts at real pace.
    pub(crate) fn to_log_time(&self, ms: u64) -> u64 {
        nanos(ms, self.speedup)
    }
}

/// Converts milliseconds at real pace to nanoseconds of the log.
fn nanos(ms: u64, speedup: u64) -> u64 {
    (ms * 1_000_000_000 / speedup).max(1)
}

/// Rooms by taste with their sizes. The sizes are the same evenly spaced quantiles for every seed; the seed permutes them.
fn rooms_by_taste(rooms: u32, tastes: Tastes, random: &mut Random) -> (Vec<(u64, u32)>, Vec<usize>) {
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

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::facts::Facts;
use super::product::{Changes, Product, Stage};
use crate::Options;
use crate::parameters::shop::{self, per_hour};
use crate::random::Random;
use crate::simulation::{Action, Simulation};

/// Stream of random numbers of the catalogue: the events' own numbers stay what they are without it.
const RANDOM_STREAM: u64 = 1;

/// An item of the catalogue. The order is that of the records of one millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entity {
    /// Host of the room with this number.
    Host(u32),
    /// Seller without a room.
    Shop(u32),
    Room(u32),
    Product(u32),
}

/// What happens at a time that is known before. A stage of a product, a stream or a show that has ended otherwise
/// meanwhile makes its timer void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    EndOfStream {
        room: u32,
        stream: u32,
    },
    StartOfStream {
        room: u32,
        stream: u32,
    },
    /// The product after the one at `place` comes on show.
    EndOfShow {
        room: u32,
        stream: u32,
        place: usize,
    },
    EndOfStage {
        product: u32,
    },
    Incident,
}

/// A room as the catalogue knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomState {
    pub(super) on_air: bool,
    /// Start of the latest stream, in milliseconds of the log.
    pub(super) from: u64,
    /// Number of the latest stream.
    stream: u32,
    /// Products of the running stream.
    products: Vec<u32>,
    /// Place of the product on show.
    place: Option<usize>,
    changes: Changes,
}

/// State of the catalogue. It runs a simulation of its own, equal to that of the events, and derives from it when rooms
/// are on air, which products they show, and what is bought. The simulation does not know the catalogue.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    simulation: Simulation,
    random: Random,
    pub(super) facts: Facts,
    products: Vec<Product>,
    rooms: Vec<RoomState>,
    /// Products of running streams, with their rooms.
    on_sale: BTreeSet<(u32, u32)>,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    /// Time of the next incident, in nanoseconds of the log.
    next_incident: u64,
    /// Mean time between incidents, in nanoseconds of the log.
    incident_gap: u64,
    /// Items of which something has changed.
    changed: Vec<Entity>,
    events: u64,
    /// Milliseconds of the log.
    now: u64,
}

impl Shop {
    /// The catalogue at time 0. All items have changed.
    pub(super) fn new(options: &Options) -> Self {
        let mut simulation = Simulation::new(options);
        simulation.rooms_mut().record_changes();
        let per_hour = per_hour::SOLD_ELSEWHERE + per_hour::HIDDEN + per_hour::PRICE + per_hour::DISCONTINUED;
        let hour = simulation.rooms().to_log_time(shop::HOUR_MS);
        let mut shop = Shop {
            simulation,
            random: Random::of_stream(options.seed, RANDOM_STREAM),
            facts: Facts::new(options),
            products: Vec::with_capacity(options.items as usize),
            rooms: vec![RoomState::default(); options.rooms as usize],
            on_sale: BTreeSet::new(),
            timers: BinaryHeap::new(),
            next_incident: 0,
            incident_gap: (hour / per_hour).saturating_mul(1_000) / u64::from(options.items),
            changed: Vec::new(),
            events: 0,
            now: 0,
        };
        for product in 0..options.items {
            shop.add_product(product);
        }
        for room in 0..options.rooms {
            shop.change_room(room, Changes::ALL);
            shop.follow_room(room, 0);
            shop.changed.push(Entity::Host(room));
        }
        shop.changed.extend((0..shop.facts.shops()).map(Entity::Shop));
        shop.plan_incident();
        shop
    }

    /// Events simulated so far.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The next millisecond of the log at which something happens.
    pub(super) fn next_time(&self) -> u64 {
        let event = self.simulation.next_time() / 1_000_000;
        self.timers.peek().map_or(event, |Reverse((time, _))| event.min(*time))
    }

    /// Simulates the millisecond `now`, with all its events.
    pub(super) fn advance_to(&mut self, now: u64) {
        self.now = now;
        loop {
            while let Some(timer) = self.pop_due() {
                self.fire(timer);
            }
            if self.simulation.next_time() / 1_000_000 > now {
                break;
            }
            let event = self.simulation.next_event();
            self.events += 1;
            while let Some(room) = self.simulation.rooms_mut().take_changed() {
                self.follow_room(room, event.at);
            }
            if event.action == Action::Purchase {
                self.sell_one(event.item);
            }
        }
    }

    /// The items that have changed since the last call, in their order.
    pub(super) fn take_changed(&mut self) -> Vec<Entity> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed
    }

    /// What has changed of an item since the last call. Hosts and shops never change.
    pub(super) fn take_changes(&mut self, entity: Entity) -> Changes {
        match entity {
            Entity::Host(_) | Entity::Shop(_) => Changes::ALL,
            Entity::Room(room) => std::mem::take(&mut self.rooms[room as usize].changes),
            Entity::Product(product) => std::mem::take(&mut self.products[product as usize].changes),
        }
    }

    pub(super) fn product(&self, product: u32) -> &Product {
        &self.products[product as usize]
    }

    pub(super) fn room(&self, room: u32) -> &RoomState {
        &self.rooms[room as usize]
    }

    /// Rooms whose running stream has the product, the lowest numbers first.
    pub(super) fn rooms_with(&self, product: u32) -> impl Iterator<Item = u32> {
        self.on_sale.range((product, 0)..=(product, u32::MAX)).map(|(_, room)| *room)
    }

    fn pop_due(&mut self) -> Option<Timer> {
        self.timers.peek().filter(|Reverse((time, _))| *time <= self.now)?;
        self.timers.pop().map(|Reverse((_, timer))| timer)
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::EndOfStream { room, stream } => {
                if self.room(room).stream == stream {
                    self.end_stream(room);
                }
            }
            Timer::StartOfStream { room, stream } => {
                let planned = self.simulation.rooms().get(room).stream == stream;
                if planned && self.room(room).stream != stream {
                    self.start_stream(room);
                }
            }
            Timer::EndOfShow { room, stream, place } => {
                let state = self.room(room);
                if state.stream == stream && state.place == Some(place) {
                    self.show(room, (place + 1) % state.products.len());
                }
            }
            Timer::EndOfStage { product } => {
                if self.product(product).stage.until() == Some(self.now) {
                    self.end_stage(product);
                }
            }
            Timer::Incident => {
                self.happen();
                self.plan_incident();
            }
        }
    }

    /// Follows a room of the simulation that has changed at `at`, in nanoseconds of the log. A stream that is planned
    /// starts on time. The simulation plans the next stream of a room when a viewer looks for a room: if no viewer does
    /// so before it would start, the room comes on air when one does. It has no events before that.
    fn follow_room(&mut self, room: u32, at: u64) {
        let plan = self.simulation.rooms().get(room);
        let stream = plan.stream;
        if self.room(room).stream != stream {
            if plan.live_start <= at {
                self.start_stream(room);
            } else {
                let start = plan.live_start / 1_000_000;
                self.set_timer(start, Timer::StartOfStream { room, stream });
            }
        } else if self.room(room).on_air {
            let (place, show_end) = (plan.on_show, plan.show_end);
            if self.room(room).place != Some(place) {
                self.show(room, place);
            }
            self.set_timer(show_end / 1_000_000, Timer::EndOfShow { room, stream, place });
        }
    }

    fn start_stream(&mut self, room: u32) {
        self.end_stream(room);
        let plan = self.simulation.rooms().get(room);
        let (stream, place, show_end, end) = (plan.stream, plan.on_show, plan.show_end, plan.live_end);
        let from = plan.live_start / 1_000_000;
        let products = plan.products.clone();
        for product in &products {
            if self.on_sale.insert((*product, room)) {
                // What a host brings along can be had, or be had again when it is shown.
                if !matches!(self.product(*product).stage, Stage::InStock { .. } | Stage::OutOfStock { .. }) {
                    self.put_in_stock(*product);
                }
                self.change_product(*product, Changes::ROOM);
            }
        }
        let state = &mut self.rooms[room as usize];
        (state.on_air, state.from, state.stream, state.products) = (true, from, stream, products);
        self.change_room(room, Changes::AVAILABILITY);
        self.show(room, place);
        self.set_timer(show_end / 1_000_000, Timer::EndOfShow { room, stream, place });
        // The last event of the stream may be in the millisecond in which it ends.
        self.set_timer(end.div_ceil(1_000_000), Timer::EndOfStream { room, stream });
    }

    /// Ends the running stream of a room, if there is one.
    fn end_stream(&mut self, room: u32) {
        self.end_show(room);
        let state = &mut self.rooms[room as usize];
        if !std::mem::take(&mut state.on_air) {
            return;
        }
        for product in std::mem::take(&mut state.products) {
            if self.on_sale.remove(&(product, room)) {
                self.change_product(product, Changes::ROOM);
            }
        }
        self.change_room(room, Changes::AVAILABILITY);
    }

    /// Puts a product of the running stream on show. It can be had then, at a discount.
    fn show(&mut self, room: u32, place: usize) {
        self.end_show(room);
        let state = &mut self.rooms[room as usize];
        let product = state.products[place];
        state.place = Some(place);
        self.put_in_stock(product);
        let discount = percent(&mut self.random, shop::FLASH_DISCOUNT);
        let shown = &mut self.products[product as usize];
        shown.shows += 1;
        if shown.shows == 1 {
            shown.discount = discount;
            self.change_product(product, Changes::PRICE);
        }
    }

    fn end_show(&mut self, room: u32) {
        let state = &mut self.rooms[room as usize];
        let Some(place) = state.place.take() else { return };
        let product = state.products[place];
        let shown = &mut self.products[product as usize];
        shown.shows -= 1;
        if shown.shows == 0 {
            shown.discount = 0;
            self.change_product(product, Changes::PRICE);
        }
    }

    fn add_product(&mut self, product: u32) {
        let lot = u32::try_from(self.random.between(shop::LOT)).unwrap_or(shop::LARGEST_LOT);
        let left = 1 + self.random.index(lot);
        let out_of_stock = self.random.happens(shop::OUT_OF_STOCK_AT_START);
        let hidden = self.random.happens(shop::HIDDEN_AT_START);
        let is_new = product >= self.facts.first_new_product();
        let stage = Stage::InStock { left, since: 0 };
        let changes = Changes::NONE;
        self.products.push(Product { stage, lot, shows: 0, percent: 100, discount: 0, changes });
        if is_new {
            let until = self.later(shop::NEW_PRODUCT_MS);
            self.enter(product, Stage::Unlisted { until });
            return;
        }
        if out_of_stock {
            let until = self.later_of_running(shop::RESTOCK_MS);
            self.enter(product, Stage::OutOfStock { until });
        } else if hidden {
            let until = self.later_of_running(shop::HIDDEN_MS);
            self.enter(product, Stage::Hidden { until });
        }
        self.change_product(product, Changes::ALL);
    }

    /// A viewer buys a product. Viewers do not know the stock, so some buy what is not there; that changes nothing.
    fn sell_one(&mut self, product: u32) {
        let lasts = self.log_ms(shop::LOT_LASTS_MS);
        let now = self.now;
        let sold = &mut self.products[product as usize];
        let Stage::InStock { left, since } = &mut sold.stage else { return };
        *left -= 1;
        if *left == 0 {
            sold.lot = if now - *since < lasts { sold.lot * shop::LOT_GROWS } else { sold.lot / 2 };
            sold.lot = sold.lot.clamp(1, shop::LARGEST_LOT);
            let on_show = sold.shows > 0;
            self.sell_out(product, if on_show { shop::RESTOCK_ON_SHOW_MS } else { shop::RESTOCK_BOUGHT_MS });
        }
    }

    fn sell_out(&mut self, product: u32, restock: (u64, u64)) {
        let until = self.later(restock);
        self.enter(product, Stage::OutOfStock { until });
        self.change_product(product, Changes::AVAILABILITY);
    }

    /// A new lot comes in, if there is none. The product is listed if it is not.
    fn put_in_stock(&mut self, product: u32) {
        let now = self.now;
        let state = &mut self.products[product as usize];
        let changes = match state.stage {
            Stage::InStock { .. } => return,
            Stage::Unlisted { .. } | Stage::Deleted { .. } => Changes::ALL,
            Stage::OutOfStock { .. } | Stage::Hidden { .. } | Stage::Discontinued { .. } => Changes::AVAILABILITY,
        };
        state.stage = Stage::InStock { left: state.lot, since: now };
        self.change_product(product, changes);
    }

    fn end_stage(&mut self, product: u32) {
        if let Stage::Discontinued { .. } = self.product(product).stage {
            let until = self.later(shop::DELETED_MS);
            self.enter(product, Stage::Deleted { until });
            self.change_product(product, Changes::ALL);
        } else {
            self.put_in_stock(product);
        }
    }

    /// Something happens to any product. If it is not in stock, nothing does.
    fn happen(&mut self) {
        let product = self.random.index(u32::try_from(self.products.len()).unwrap_or(u32::MAX));
        let kinds = [per_hour::SOLD_ELSEWHERE, per_hour::HIDDEN, per_hour::DISCONTINUED, per_hour::PRICE];
        let [sold, hidden, discontinued, _] = kinds;
        let kind = self.random.below(kinds.iter().sum());
        let Stage::InStock { .. } = self.product(product).stage else { return };
        if kind < sold {
            // What is on show is left to the viewers.
            if self.product(product).shows == 0 {
                self.sell_out(product, shop::RESTOCK_MS);
            }
            return;
        }
        if kind < sold + hidden + discontinued {
            // A host would not offer it any more.
            if self.rooms_with(product).next().is_none() {
                let stage = if kind < sold + hidden {
                    Stage::Hidden { until: self.later(shop::HIDDEN_MS) }
                } else {
                    Stage::Discontinued { until: self.later(shop::DISCONTINUED_MS) }
                };
                self.enter(product, stage);
                self.change_product(product, Changes::AVAILABILITY);
            }
            return;
        }
        self.products[product as usize].percent = percent(&mut self.random, shop::CHANGED_PRICE);
        self.change_product(product, Changes::PRICE);
    }

    fn plan_incident(&mut self) {
        self.next_incident += 1 + self.random.below(2 * self.incident_gap + 1);
        self.set_timer(self.next_incident / 1_000_000, Timer::Incident);
    }

    fn enter(&mut self, product: u32, stage: Stage) {
        self.products[product as usize].stage = stage;
        if let Some(until) = stage.until() {
            self.set_timer(until, Timer::EndOfStage { product });
        }
    }

    fn change_product(&mut self, product: u32, what: Changes) {
        let changes = &mut self.products[product as usize].changes;
        if *changes == Changes::NONE {
            self.changed.push(Entity::Product(product));
        }
        changes.add(what);
    }

    fn change_room(&mut self, room: u32, what: Changes) {
        let changes = &mut self.rooms[room as usize].changes;
        if *changes == Changes::NONE {
            self.changed.push(Entity::Room(room));
        }
        changes.add(what);
    }

    fn set_timer(&mut self, time: u64, timer: Timer) {
        self.timers.push(Reverse((time.max(self.now), timer)));
    }

    /// A time after now, of durations at real pace. At least a millisecond later, so that a product has one stage at a
    /// time.
    fn later(&mut self, durations: (u64, u64)) -> u64 {
        let duration = self.random.between(durations);
        self.now + self.log_ms(duration)
    }

    /// The same for what has been so for some of its duration.
    fn later_of_running(&mut self, durations: (u64, u64)) -> u64 {
        let duration = self.random.between(durations);
        let rest = 1 + self.random.below(duration);
        self.now + self.log_ms(rest)
    }

    fn log_ms(&self, ms: u64) -> u64 {
        self.simulation.rooms().to_log_time(ms).div_ceil(1_000_000)
    }
}

fn percent(random: &mut Random, (from, to): (u64, u64)) -> u8 {
    u8::try_from(random.between((from, to))).unwrap_or(u8::MAX)
}

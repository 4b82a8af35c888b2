//! The catalogue of the simulated shop, as records in the order of their times.

mod facts;
mod product;
mod shop;
mod words;

use schema::{Availability, FieldValue, ItemField, Statement};

use self::facts::Facts;
use self::product::{Changes, Stage};
use self::shop::{Entity, Shop};
use crate::{Options, OptionsError};

/// What a record of the simulated shop states of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopRecord {
    /// Name of the item: a product `pN`, a room `roomN`, its host `hostN`, or a seller without a room `shopN`.
    pub item: String,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// Fields in their order, with tags of the first group only; or that the item is deleted.
    pub statement: Statement,
}

/// A field with its value.
type Field = (ItemField, Option<FieldValue>);

/// Generates the catalogue of the shop that the events of the same [`Options`] happen in: first what there is at the
/// start, then what changes, in the order of time, until the millisecond of the last event.
///
/// It runs a simulation of its own, so it is independent of how far the events are generated. A log with more events
/// has the same records up to that millisecond. Within a millisecond an item has one record at most. Memory is
/// proportional to users, rooms and items.
///
/// ```
/// use simulator::{CatalogueGenerator, Options};
/// let options = Options::parse("events=1000,items=500").unwrap();
/// let records: Vec<_> = CatalogueGenerator::new(options).unwrap().collect();
/// assert!(records.iter().any(|record| record.item == "room7") && records.is_sorted_by_key(|record| record.ts));
/// ```
#[derive(Clone, Debug)]
pub struct CatalogueGenerator {
    options: Options,
    shop: Shop,
    /// Time of the records that come next, in milliseconds of the log.
    now: u64,
    changed: std::vec::IntoIter<Entity>,
    generated: u64,
}

impl CatalogueGenerator {
    /// A generator positioned at its first record. Returns all errors of the options.
    pub fn new(options: Options) -> Result<Self, Vec<OptionsError>> {
        options.validate()?;
        let mut shop = Shop::new(&options);
        shop.advance_to(0);
        let changed = shop.take_changed().into_iter();
        Ok(CatalogueGenerator { options, shop, now: 0, changed, generated: 0 })
    }

    /// The options of this generator.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Number of records generated or skipped.
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// Seeks forward until `generated` records precede the next one; what comes before is simulated and dropped.
    /// Returns `false` if the position lies behind, which does not move, or beyond the end, which moves there.
    pub fn skip_to(&mut self, generated: u64) -> bool {
        while self.generated < generated && self.advance().is_some() {}
        self.generated == generated
    }

    /// The item of the next record, and which of its fields have changed.
    fn advance(&mut self) -> Option<(Entity, Changes)> {
        loop {
            if let Some(entity) = self.changed.next() {
                self.generated += 1;
                return Some((entity, self.shop.take_changes(entity)));
            }
            if self.shop.events() >= self.options.events {
                return None;
            }
            self.now = self.shop.next_time();
            self.shop.advance_to(self.now);
            self.changed = self.shop.take_changed().into_iter();
        }
    }

    fn record(&self, entity: Entity, changes: Changes) -> ShopRecord {
        let (item, statement) = match entity {
            Entity::Host(host) => (format!("host{host}"), Statement::Fields(named("host", Facts::title_of_host(host)))),
            Entity::Shop(shop) => {
                (format!("shop{shop}"), Statement::Fields(named("host", self.shop.facts.title_of_shop(shop))))
            }
            Entity::Room(room) => (format!("room{room}"), Statement::Fields(self.room(room, changes))),
            Entity::Product(product) => {
                let statement = match self.shop.product(product).stage {
                    Stage::Deleted { .. } => Statement::Deleted,
                    _ => Statement::Fields(self.product(product, changes)),
                };
                (format!("p{product}"), statement)
            }
        };
        ShopRecord { item, ts: self.options.start + self.now, statement }
    }

    fn room(&self, room: u32, changes: Changes) -> Vec<Field> {
        let state = self.shop.room(room);
        let mut fields = Vec::new();
        if changes.has(Changes::ALL) {
            fields = named("room", self.shop.facts.title_of_room(room));
            fields.push(category(self.shop.facts.category_of_room(room)));
            fields.push(text(ItemField::Host, format!("host{room}")));
        }
        let word = if state.on_air { Availability::OnAir } else { Availability::OffAir };
        fields.push(availability(word));
        if state.on_air {
            fields.push(number(ItemField::From, self.options.start + state.from));
        }
        fields
    }

    fn product(&self, product: u32, changes: Changes) -> Vec<Field> {
        let state = self.shop.product(product);
        let facts = changes.has(Changes::ALL).then(|| self.shop.facts.product(product));
        let (mut fields, mut tags) = (Vec::new(), None);
        if let Some(facts) = facts {
            fields = named("product", facts.title);
            fields.push(category(facts.category));
            fields.push(text(ItemField::Host, facts.seller));
            fields.push(text(ItemField::Brand, facts.brand));
            tags = facts.tags;
        }
        if changes.has(Changes::ROOM) {
            let rooms = self.shop.rooms_with(product).take(MOST_ROOMS).map(|room| format!("room{room}"));
            let rooms = FieldValue::set(rooms);
            // A first record leaves out what has no value.
            if rooms.is_some() || !changes.has(Changes::ALL) {
                fields.push((ItemField::Room, rooms));
            }
        }
        if changes.has(Changes::PRICE) {
            let tenths = self.shop.facts.list_price(product);
            let tenths = tenths * u64::from(state.percent) * u64::from(100 - state.discount) / 10_000;
            fields.push(number(ItemField::Price, tenths.max(1) * 1_000));
        }
        if changes.has(Changes::ALL) {
            fields.push(text(ItemField::Currency, CURRENCY));
        }
        if changes.has(Changes::AVAILABILITY) {
            let word = match state.stage {
                Stage::InStock { .. } => Availability::InStock,
                Stage::OutOfStock { .. } => Availability::OutOfStock,
                Stage::Discontinued { .. } => Availability::Discontinued,
                // The latter two have no such record.
                Stage::Hidden { .. } | Stage::Unlisted { .. } | Stage::Deleted { .. } => Availability::Hidden,
            };
            fields.push(availability(word));
        }
        fields.extend(tags.map(|tags| (ItemField::Tags(0), Some(tags))));
        fields
    }
}

impl Iterator for CatalogueGenerator {
    type Item = ShopRecord;

    fn next(&mut self) -> Option<ShopRecord> {
        let (entity, changes) = self.advance()?;
        Some(self.record(entity, changes))
    }
}

/// Currency of all prices.
const CURRENCY: &str = "CNY";

/// Rooms that a product can name.
const MOST_ROOMS: usize = 8;

/// Fields of any item.
fn named(kind: &str, title: String) -> Vec<Field> {
    vec![text(ItemField::Kind, kind), text(ItemField::Title, title)]
}

fn text(field: ItemField, text: impl Into<Box<str>>) -> Field {
    (field, Some(FieldValue::Text(text.into())))
}

fn category(path: String) -> Field {
    (ItemField::Category, FieldValue::set([path]))
}

fn availability(availability: Availability) -> Field {
    (ItemField::Availability, Some(FieldValue::Availability(availability)))
}

fn number(field: ItemField, number: u64) -> Field {
    (field, Some(FieldValue::Number(number)))
}

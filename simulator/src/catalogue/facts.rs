use schema::FieldValue;

use super::words::{ADJECTIVES, BRANDS, COLOURS, FIRST_NAMES, LAST_NAMES, OCCASIONS, SECTIONS, STYLES, Section};
use crate::Options;
use crate::parameters::shop;
use crate::quantiles::Quantiles;
use crate::random::hash32;
use crate::tastes::Tastes;

/// Salts of the hashes of items.
mod salt {
    pub(super) const ADJECTIVE: u64 = 16;
    pub(super) const COLOUR: u64 = 17;
    pub(super) const BRAND: u64 = 18;
    pub(super) const SELLER: u64 = 19;
    pub(super) const PRICE: u64 = 20;
    pub(super) const SOLD_BY_HOST: u64 = 21;
}

/// What never changes of the products, rooms and hosts. All is computed from their numbers, not stored.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    seed: u64,
    items: u32,
    rooms: u32,
    tastes: Tastes,
    prices: Quantiles,
}

impl Facts {
    pub(super) fn new(options: &Options) -> Self {
        let (median, deviation, most) = shop::PRICE;
        let prices = Quantiles::lognormal(median, deviation, most);
        let Options { seed, items, rooms, .. } = *options;
        Facts { seed, items, rooms, tastes: Tastes::new(options), prices }
    }

    /// Number of shops that have no room. Every taste has one.
    pub(super) fn shops(&self) -> u32 {
        self.items.div_ceil(shop::PRODUCTS_PER_SHOP).max(self.tastes.count())
    }

    /// Products with this number and above get their first record after the start.
    pub(super) fn first_new_product(&self) -> u32 {
        let new = u64::from(self.items) * shop::NEW_PRODUCTS / 1_000;
        self.items - u32::try_from(new).unwrap_or(self.items)
    }

    /// Title, category, seller, brand, tags and list price of a product.
    pub(super) fn product(&self, product: u32) -> ProductFacts {
        let section = self.section(product);
        let rank = product / self.tastes.count();
        let leaf = section.leaves.get(rank as usize % (section.leaves.len() + 1));
        let (_, noun) = leaf.unwrap_or(&section.leaves[0]);
        let adjective = self.pick(&ADJECTIVES, product, salt::ADJECTIVE);
        // Every other title has a colour.
        let colour = self.hash(product, salt::COLOUR) as usize % (2 * COLOURS.len());
        let title = match COLOURS.get(colour) {
            Some(colour) => format!("{adjective} {colour} {noun}"),
            None => format!("{adjective} {noun}"),
        };
        let category = match leaf {
            Some((leaf, _)) => format!("{} > {} > {leaf}", section.department, section.name),
            None => format!("{} > {}", section.department, section.name),
        };
        ProductFacts {
            title,
            category,
            seller: self.seller(product),
            brand: self.brand(product),
            tags: self.tags(product),
        }
    }

    /// List price in tenths of the currency: ends in `.90`.
    pub(super) fn list_price(&self, product: u32) -> u64 {
        let factor = self.prices.at(self.hash(product, salt::PRICE));
        let units = (self.section(product).price * factor / 1_000).max(1);
        units * 10 - 1
    }

    /// Two levels, as a room has all kinds of products of its taste.
    pub(super) fn category_of_room(&self, room: u32) -> String {
        let section = self.section(room);
        format!("{} > {}", section.department, section.name)
    }

    pub(super) fn title_of_room(&self, room: u32) -> String {
        format!("{} live with {}", self.section(room).name, Facts::title_of_host(room))
    }

    pub(super) fn title_of_host(host: u32) -> String {
        let host = host as usize;
        // Both lists are walked at the same time: their lengths have no common divisor.
        format!("{} {}", FIRST_NAMES[host % FIRST_NAMES.len()], LAST_NAMES[host % LAST_NAMES.len()])
    }

    pub(super) fn title_of_shop(&self, shop: u32) -> String {
        format!("{} {} shop", self.pick(&BRANDS, shop, salt::SELLER), self.section(shop).name)
    }

    /// A host of a room of the product's taste, or a shop of its taste.
    fn seller(&self, product: u32) -> String {
        let taste = self.tastes.of(product);
        let of_taste =
            |all: u32| taste + self.tastes.count() * (self.hash(product, salt::SELLER) % self.with(taste, all));
        if u64::from(self.hash(product, salt::SOLD_BY_HOST)) < shop::SOLD_BY_HOST.parts() {
            format!("host{}", of_taste(self.rooms))
        } else {
            format!("shop{}", of_taste(self.shops()))
        }
    }

    /// How many of `all` numbers are of a taste. Never 0: there are at least as many rooms and shops as tastes.
    fn with(&self, taste: u32, all: u32) -> u32 {
        (all - taste).div_ceil(self.tastes.count())
    }

    /// One of six brands of the taste; a brand is of several tastes.
    fn brand(&self, product: u32) -> &'static str {
        let of_taste = self.hash(product, salt::BRAND) as usize % 6;
        BRANDS[(self.tastes.of(product) as usize * 3 + of_taste) % BRANDS.len()]
    }

    fn tags(&self, product: u32) -> Option<FieldValue> {
        let (taste, rank) = (self.tastes.of(product) as usize, product as usize / self.tastes.count() as usize);
        let mut tags = vec![STYLES[taste % STYLES.len()], STYLES[(taste * 4 + 1 + rank % 2) % STYLES.len()]];
        tags.push(OCCASIONS[rank % OCCASIONS.len()]);
        if product >= self.first_new_product() {
            tags.push("new");
        } else if rank < self.items as usize / self.tastes.count() as usize / 20 {
            tags.push("bestseller");
        }
        FieldValue::set(tags.into_iter().map(str::to_owned))
    }

    fn section(&self, number: u32) -> &'static Section {
        &SECTIONS[self.tastes.of(number) as usize % SECTIONS.len()]
    }

    fn pick(&self, words: &[&'static str], number: u32, salt: u64) -> &'static str {
        words[self.hash(number, salt) as usize % words.len()]
    }

    fn hash(&self, number: u32, salt: u64) -> u32 {
        hash32(self.seed, number, salt)
    }
}

/// Texts of a product.
#[derive(Debug)]
pub(super) struct ProductFacts {
    pub(super) title: String,
    pub(super) category: String,
    /// Item name of the host or the shop that sells it.
    pub(super) seller: String,
    pub(super) brand: &'static str,
    pub(super) tags: Option<FieldValue>,
}

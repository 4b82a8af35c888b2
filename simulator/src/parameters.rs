//! All parameters of the simulation. *Fitted* ones were measured on a public log by `scripts/fit_generator.py`; *chosen*
//! ones are plausible values that no available log contains. docs/generator.md names the log of each and compares it
//! with the generated log.

use crate::random::Chance;

/// Behaviours per million page visits (`view` or `click`).
pub(crate) mod per_visit {
    /// Fitted: Taobao.
    pub(crate) const CART: u64 = 61_640;
    /// Fitted: Taobao.
    pub(crate) const FAVOURITE: u64 = 34_390;
    /// Fitted: Taobao.
    pub(crate) const PURCHASE: u64 = 25_350;
    /// Chosen.
    pub(crate) const WATCH: u64 = 450_000;
    /// Chosen.
    pub(crate) const LIKE: u64 = 100_000;
    /// Chosen.
    pub(crate) const FOLLOW: u64 = 10_000;
}

/// Fitted, Facebook live: comments per thousand likes of a stream are lognormal.
pub(crate) const COMMENTS_PER_LIKE: (f64, f64) = (1_250.0, 1.25);
/// Fitted, Facebook live: shares per thousand likes of a stream.
pub(crate) const SHARES_PER_LIKE: (f64, f64) = (264.0, 1.17);

/// Fitted, Serenade: milliseconds between events of a session; lognormal (median, deviation, cap). The log holds page
/// visits only, so the fit is to the gaps between visits. The cap is the gap that ends a session.
pub(crate) const GAP_MS: (f64, f64, f64) = (19_000.0, 1.55, 1_800_000.0);
/// Fitted, Serenade: page visits per session in thousandths; lognormal. At least [`FEWEST_VISITS`].
pub(crate) const VISITS: (f64, f64, f64) = (3_000.0, 0.86, 1_000_000.0);
/// Fitted: the log has no session with one click.
pub(crate) const FEWEST_VISITS: u64 = 2;
/// Fitted, Serenade: a visit after the first goes to an item visited in this session.
pub(crate) const REVISIT: Chance = Chance::of(0.368);
/// Fitted, Taobao: activity of users (deviation of the logarithm).
pub(crate) const ACTIVITY: f64 = 1.0;
/// Fitted, Facebook live: size of rooms, by the reactions to a video (deviation of the logarithm).
pub(crate) const ROOM_SIZE: f64 = 1.88;
// Fitted, Serenade (ranks 100 to 5000): items are drawn with the Zipf exponent 1/2, see `Random::zipf`.

/// Chosen: a first visit is a `click`, not a `view`. A revisit is always a `click`.
pub(crate) const CLICK: Chance = Chance::of(0.15);
/// Chosen: a cart, favourite or purchase concerns an item visited in the session; else the one on show. (Taobao's slice is
/// too sparse: it gives lower bounds of a few percent.)
pub(crate) const AFTER_VISIT: Chance = Chance::of(0.85);
/// Chosen: a purchase takes the item in the cart, if there is one.
pub(crate) const FROM_CART: Chance = Chance::of(0.6);
/// Chosen: a new visit goes to the product on show; probability at the start of the show.
pub(crate) const ATTENTION_FIRST: f64 = 0.7;
/// Chosen: the same at the end of the show; it falls linearly.
pub(crate) const ATTENTION_LAST: f64 = 0.25;
/// Chosen: another new visit goes to another product of the stream; else it browses by taste.
pub(crate) const WITHIN_STREAM: Chance = Chance::of(0.4);
/// Chosen: browsing stays within the viewer's tastes.
pub(crate) const TASTE_BROWSES: Chance = Chance::of(0.9);
/// Chosen: a room is picked by taste; else by size.
pub(crate) const TASTE_PICKS_ROOM: Chance = Chance::of(0.8);
/// Chosen: the first taste of a viewer decides; else the second.
pub(crate) const FIRST_TASTE: Chance = Chance::of(0.7);
/// Chosen: a product of a stream is of the room's taste; else of any.
pub(crate) const STREAM_TASTE: Chance = Chance::of(0.85);
/// Chosen: a viewer changes rooms after an event.
pub(crate) const CHANGES_ROOM: Chance = Chance::of(0.04);
/// Chosen: a viewer changes rooms when the stream ends; else leaves.
pub(crate) const CHANGES_ROOM_AFTER_END: Chance = Chance::of(0.5);
/// Chosen: a returning user starts in the room of the previous session, if it is live.
pub(crate) const SAME_ROOM: Chance = Chance::of(0.4);

/// Chosen: products of a stream.
pub(crate) const PRODUCTS: (u64, u64) = (30, 60);
/// Chosen: duration of a show, ms.
pub(crate) const SHOW_MS: (u64, u64) = (90_000, 300_000);
/// Chosen: duration of a stream, ms.
pub(crate) const STREAM_MS: (u64, u64) = (3_600_000, 10_800_000);
/// Chosen: pause between two streams of a room, ms.
pub(crate) const DARK_MS: (u64, u64) = (1_800_000, 3_600_000);

/// Chosen: at most one user in this many has a session at a time; a higher rate speeds up time instead.
pub(crate) const USERS_PER_SESSION: u64 = 10;
/// Chosen: maximal number of tastes; fewer when a taste would have less than two rooms or a hundred items.
pub(crate) const TASTES: u32 = 25;

/// The catalogue. All are chosen: no log at hand tells of stocks and prices. Times are at real pace, like those of
/// streams.
pub(crate) mod shop {
    use crate::random::Chance;

    /// An hour in milliseconds.
    pub(crate) const HOUR_MS: u64 = 3_600_000;

    /// Out of stock at the start. With hidden, new and discontinued products about a tenth is missing at any time:
    /// enough that lists show it, and no more than a shop would bear.
    pub(crate) const OUT_OF_STOCK_AT_START: Chance = Chance::of(0.06);
    /// Hidden at the start.
    pub(crate) const HIDDEN_AT_START: Chance = Chance::of(0.02);
    /// Products per thousand that get their first record after the start: those with the highest numbers, as new
    /// products have few viewers.
    pub(crate) const NEW_PRODUCTS: u64 = 30;
    /// Time of a new product after the start.
    pub(crate) const NEW_PRODUCT_MS: (u64, u64) = (1, 10 * HOUR_MS);

    /// Time until a product that is out of stock comes back: from the shelf behind the host to a delivery.
    pub(crate) const RESTOCK_MS: (u64, u64) = (HOUR_MS / 4, HOUR_MS * 3 / 2);
    /// The same for a product that the viewers of the log bought.
    pub(crate) const RESTOCK_BOUGHT_MS: (u64, u64) = (HOUR_MS / 20, HOUR_MS / 4);
    /// The same for a product that sells out while it is on show: the host puts in more.
    pub(crate) const RESTOCK_ON_SHOW_MS: (u64, u64) = (20_000, 90_000);
    /// Time until a hidden product comes back.
    pub(crate) const HIDDEN_MS: (u64, u64) = (HOUR_MS, 5 * HOUR_MS);
    /// Time from discontinuing a product to deleting it.
    pub(crate) const DISCONTINUED_MS: (u64, u64) = (2 * HOUR_MS, 6 * HOUR_MS);
    /// Time until a deleted product is listed again. Else the catalogue of a long log would run empty, as the names of
    /// the items are given.
    pub(crate) const DELETED_MS: (u64, u64) = (6 * HOUR_MS, 24 * HOUR_MS);

    /// Incidents per hour of a thousand products.
    pub(crate) mod per_hour {
        /// Sold out by buyers outside the log. Keeps the share of the start: 6 % over a mean of 52.5 minutes.
        pub(crate) const SOLD_ELSEWHERE: u64 = 69;
        /// Hidden for a while. Keeps the share of the start: 2 % over a mean of 3 hours.
        pub(crate) const HIDDEN: u64 = 7;
        /// Other price. Each product about every two days.
        pub(crate) const PRICE: u64 = 20;
        /// Discontinued. About 4 % are discontinued or deleted after some days.
        pub(crate) const DISCONTINUED: u64 = 2;
    }

    /// Units of the first lot. Small, as the log has few of a shop's buyers: 0.65 purchases an item with the defaults.
    pub(crate) const LOT: (u64, u64) = (5, 40);
    /// Growth of the lot of a product whose last one was sold within [`LOT_LASTS_MS`]; else it halves. So popular
    /// products do not sell out all the time.
    pub(crate) const LOT_GROWS: u32 = 4;
    /// How long a lot should last.
    pub(crate) const LOT_LASTS_MS: u64 = 2 * HOUR_MS;
    /// Largest lot.
    pub(crate) const LARGEST_LOT: u32 = 1 << 20;

    /// Price factor within a taste, in thousandths; lognormal (median, deviation, cap). The cheapest is about an eighth
    /// of the median.
    pub(crate) const PRICE: (f64, f64, f64) = (1_000.0, 0.6, 8_000.0);
    /// Price after a change, in percent of the list price. Not of the price before, so that prices do not drift.
    pub(crate) const CHANGED_PRICE: (u64, u64) = (80, 120);
    /// Discount while a product is on show, in percent.
    pub(crate) const FLASH_DISCOUNT: (u64, u64) = (10, 40);

    /// A product is sold by the host of a room of its taste; else by a shop of its taste.
    pub(crate) const SOLD_BY_HOST: Chance = Chance::of(0.6);
    /// Products for each shop that has no room.
    pub(crate) const PRODUCTS_PER_SHOP: u32 = 50;
}

/// Chosen: comments. `text` never changes a recommendation, so a few phrases suffice.
pub(crate) const COMMENTS: [&str; 12] = [
    "how much is it?",
    "多少钱",
    "is it in stock?",
    "还有货吗",
    "which sizes are there?",
    "有小号吗",
    "show it again please",
    "再看一下",
    "bought it last week, love it",
    "已下单",
    "any coupon today?",
    "有优惠吗",
];

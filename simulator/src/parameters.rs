//! Every number of the simulation. *Fitted* ones were measured by `scripts/fit_generator.py` on a public log; *chosen*
//! ones are plausible and no log at hand could tell. The table in docs/generator.md says which log, and what the
//! generated log measures beside it.

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

/// Fitted, Serenade: milliseconds from one event of a session to the next are lognormal (median, deviation), such that
/// the gaps between page visits, which is what the log holds, come out right; cut off where a session
/// is held to have ended.
pub(crate) const GAP_MS: (f64, f64, f64) = (19_000.0, 1.55, 1_800_000.0);
/// Fitted, Serenade: page visits per session are lognormal, in thousandths. At least [`FEWEST_VISITS`].
pub(crate) const VISITS: (f64, f64, f64) = (3_000.0, 0.86, 1_000_000.0);
/// Fitted: the log has no session of one click.
pub(crate) const FEWEST_VISITS: u64 = 2;
/// Fitted, Serenade: a later visit of a session goes to an item visited before.
pub(crate) const REVISIT: Chance = Chance::of(0.368);
/// Fitted, Taobao: how unequally active users are (deviation of the logarithm).
pub(crate) const ACTIVITY: f64 = 1.0;
/// Fitted, Facebook live: how unequally rooms are visited, by the reactions a video gets (deviation of the logarithm).
pub(crate) const ROOM_SIZE: f64 = 1.88;
// Fitted, Serenade (ranks 100 to 5000): items are drawn with the Zipf exponent 1/2, see `Random::zipf`.

/// Chosen: a first visit is a `click`, not a `view`. A visit to an item seen before is always a `click`.
pub(crate) const CLICK: Chance = Chance::of(0.15);
/// Chosen: a cart, favourite or purchase concerns an item visited in the session; else the one on show, straight from
/// the video. (Taobao's slice is too thin to tell: it gives lower bounds of a few percent.)
pub(crate) const AFTER_VISIT: Chance = Chance::of(0.85);
/// Chosen: of those, the purchases that take what lies in the cart.
pub(crate) const FROM_CART: Chance = Chance::of(0.6);
/// Chosen: a new visit goes to the product on show: from this at the start of its show ...
pub(crate) const ATTENTION_FIRST: f64 = 0.7;
/// ... falling evenly to this at its end.
pub(crate) const ATTENTION_LAST: f64 = 0.25;
/// Chosen: of the other new visits, those to other products of the stream; the rest browses by taste.
pub(crate) const WITHIN_STREAM: Chance = Chance::of(0.4);
/// Chosen: browsing stays within the viewer's tastes.
pub(crate) const TASTE_BROWSES: Chance = Chance::of(0.9);
/// Chosen: a room is picked by taste; else by size alone.
pub(crate) const TASTE_PICKS_ROOM: Chance = Chance::of(0.8);
/// Chosen: of a viewer's two tastes the first decides.
pub(crate) const FIRST_TASTE: Chance = Chance::of(0.7);
/// Chosen: a product of a stream is of the room's taste; else of any.
pub(crate) const STREAM_TASTE: Chance = Chance::of(0.85);
/// Chosen: a viewer changes rooms after an event.
pub(crate) const SWITCH: Chance = Chance::of(0.04);
/// Chosen: a viewer whose stream ends goes to another; else leaves.
pub(crate) const STAYS_AFTER_END: Chance = Chance::of(0.5);
/// Chosen: who comes back starts in the room of last time, if it is live.
pub(crate) const SAME_ROOM: Chance = Chance::of(0.4);

/// Chosen: products of a stream.
pub(crate) const PRODUCTS: (u64, u64) = (30, 60);
/// Chosen: how long a product is on show, ms.
pub(crate) const SHOW_MS: (u64, u64) = (90_000, 300_000);
/// Chosen: how long a stream lasts, ms.
pub(crate) const STREAM_MS: (u64, u64) = (3_600_000, 10_800_000);
/// Chosen: how long a room is dark between two streams, ms.
pub(crate) const DARK_MS: (u64, u64) = (1_800_000, 3_600_000);

/// Chosen: at most one user in this many is in a session at a time; beyond that, time runs faster.
pub(crate) const USERS_PER_SESSION: u64 = 10;
/// Chosen: tastes, at most; there are as many as leave each at least two rooms and a hundred items.
pub(crate) const TASTES: u32 = 25;

/// Chosen: what is said. `text` never changes a recommendation, so a few phrases do.
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

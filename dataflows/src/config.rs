//! The parameters of the graph.

use serde::{Serialize, Serializer};

pub use crate::similarity::measure::Measure;

/// Users that have a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every user with an interaction.
    All,
    /// Users with an event younger than this many milliseconds.
    Within(u64),
}

/// `"all"` or the number of milliseconds.
impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Audience::All => serializer.serialize_str("all"),
            Audience::Within(ms) => serializer.serialize_u64(*ms),
        }
    }
}

/// Which evaluations of a list are emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// Those with another sequence of items than the list that was emitted last.
    #[default]
    Order,
    /// Those with another set of items. A mere reordering is not emitted.
    Membership,
}

impl Emit {
    /// All of them, the default first.
    pub const ALL: [Emit; 2] = [Emit::Order, Emit::Membership];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Emit::Order => "order",
            Emit::Membership => "membership",
        }
    }
}

/// The name.
impl Serialize for Emit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Optional outputs beside the lists. All are off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Similar items of every item, also of items that no viewer's list depends on.
    pub similar_items: bool,
    /// Similar users of every user in the audience.
    pub similar_users: bool,
}

/// Weights of the sources of candidates, relative to each other: 0 to 1,000,000, 0 switches a source off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Items similar to those in the user's history.
    pub items: u32,
    /// Items in the histories of similar users. If 0, similar users are neither computed nor stored.
    pub users: u32,
}

/// How many items of a list may be alike, at most; 0 for any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Of the same first category.
    pub category: usize,
    /// Of the same host.
    pub host: usize,
    /// Whether a list is rather shorter than beyond a cap.
    pub strict: bool,
}

impl Caps {
    /// Whether there is any.
    pub fn exist(&self) -> bool {
        self.category > 0 || self.host > 0
    }
}

/// Trending lists, for users without a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trending {
    /// Length of a trending list, at least 1.
    pub k: usize,
    /// Length of a bucket in milliseconds, at least 1.
    pub bucket: u64,
    /// Number of buckets that count, 1 to 16. Each weighs half as much as the next younger one.
    /// `(buckets + 1) * bucket` is at most the retention.
    pub buckets: u32,
}

impl Trending {
    /// The time in milliseconds from which an event at `ts` no longer counts.
    pub fn expires(&self, ts: u64) -> u64 {
        (ts / self.bucket + u64::from(self.buckets) + 1).saturating_mul(self.bucket)
    }
}

/// The catalogue of items, if the graph has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Whether items that have no record are eligible.
    pub unknown_is_eligible: bool,
    /// Items of which records are kept, and deletions that are kept, at most.
    pub max_items: usize,
}

/// Parameters of the graph, as defined in `docs/semantics.md`. The graph does not check their ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interactions per user that count, at most. It bounds memory: the pairs of a user grow with its square.
    pub history: usize,
    /// Similar items kept per item, at least 1.
    pub neighbours: usize,
    /// Length of a list, at least 1.
    pub k: usize,
    /// Lifetime of an event in milliseconds, at least 1: it counts while `ts + retention > now`.
    pub retention: u64,
    /// Milliseconds for which a skip keeps its item out of its user's list, at least 1 and at most the retention: it is
    /// in force while `t < ts + skipped`.
    pub skipped: u64,
    /// Users that have a list.
    pub audience: Audience,
    /// Milliseconds within which a viewer's list follows the actions of others; the viewer's own action counts at once. 0: each
    /// tick evaluates every list, which costs far more.
    pub refresh: u64,
    /// Which evaluations are emitted.
    pub emit: Emit,
    /// Measure of the similarity of two items.
    pub similarity: Measure,
    /// Co-occurrence from which two items are similar, at least 1.
    pub min_cooccurrence: u32,
    /// Constant added to popularities in the cosine and Jaccard measures: it discounts pairs with little evidence.
    pub shrink: u32,
    /// Two items of a user count twice in the co-occurrence if they were touched less than this many milliseconds apart.
    pub near: u64,
    /// An interaction that follows the one before it by at least this many milliseconds begins another basket. 0 makes each
    /// interaction a basket of its own.
    pub basket: u64,
    /// Basket ranks at which the weight of a history halves, strictly rising, at most 16. The last one is also the number of
    /// interactions that make the profile.
    pub stairs: Vec<usize>,
    /// Steps of the quantised logarithm per factor of two, 1 to 16.
    pub resolution: u32,
    /// Users sampled per item to find similar users, at least 1.
    pub sample: usize,
    /// Similar users kept per user of the audience, at least 1.
    pub similar_users: usize,
    /// Steps of the quantised logarithm per factor of two in the similarity of users, 1 to 16.
    pub user_resolution: u32,
    /// Weights of the sources of candidates.
    pub sources: Sources,
    /// How much a list gives up of its totals for items that are less alike, 0 to 100.
    pub diversity: u32,
    /// How many items of a list may be of one category or host. Caps and diversity need a catalogue.
    pub caps: Caps,
    /// Reasons that are given of each item of a list, at most.
    pub why: usize,
    /// Trending lists; `None` stores nothing for them.
    pub trending: Option<Trending>,
    /// The catalogue. Without one every item is eligible.
    pub catalogue: Option<Catalogue>,
    /// Whether the graph takes controls of users.
    pub controls: bool,
    /// Optional outputs beside the lists.
    pub outputs: Outputs,
    /// Work that an operator does before it yields to others, at least 1, in recomputed totals of about 0.2 us each.
    /// Answers do not depend on it.
    pub slice: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            history: 100,
            neighbours: 30,
            k: 10,
            retention: 30 * 24 * 60 * 60 * 1_000,
            skipped: 60 * 60 * 1_000,
            audience: Audience::Within(30 * 60 * 1_000),
            refresh: 1_000,
            emit: Emit::Order,
            similarity: Measure::Cosine,
            min_cooccurrence: 1,
            shrink: 20,
            near: 60_000,
            basket: 1_000,
            stairs: vec![1, 2, 4, 24],
            resolution: 4,
            sample: 50,
            similar_users: 50,
            user_resolution: 2,
            sources: Sources { items: 2, users: 1 },
            diversity: 0,
            caps: Caps::default(),
            why: 0,
            trending: None,
            catalogue: None,
            controls: false,
            outputs: Outputs::default(),
            slice: 10_000,
        }
    }
}

impl Config {
    /// The factor of an item with this basket rank (0 is the newest basket) in a profile. It halves at each stair and is 0
    /// beyond the last.
    pub fn stair(&self, basket_rank: usize) -> u32 {
        let steps = self.stairs.len();
        self.stairs.iter().position(|end| basket_rank < *end).map_or(0, |step| 1 << (steps - 1 - step))
    }

    /// Number of interactions in a profile, at most: the last stair.
    pub fn profile_length(&self) -> usize {
        self.stairs.last().copied().unwrap_or(0)
    }

    /// Whether similar users are computed: as a source of candidates or as an output.
    pub fn needs_similar_users(&self) -> bool {
        self.sources.users > 0 || self.outputs.similar_users
    }

    /// Number of candidates in a pool.
    pub(crate) fn pool_length(&self) -> usize {
        if self.diversity > 0 || self.caps.exist() { 4 * self.k } else { 2 * self.k }
    }

    /// Whether items without a catalogue record are eligible: all are without a catalogue.
    pub(crate) fn unknown_is_eligible(&self) -> bool {
        self.catalogue.is_none_or(|catalogue| catalogue.unknown_is_eligible)
    }

    /// The time in milliseconds at which an event at `ts` leaves the retention.
    pub(crate) fn expires(&self, ts: u64) -> u64 {
        ts.saturating_add(self.retention)
    }
}

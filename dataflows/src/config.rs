//! The parameters of the graph.

pub use crate::similarity::measure::Measure;

/// Who has a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every user with an interaction.
    All,
    /// Users with an event younger than this many milliseconds.
    Within(u64),
}

/// What is told beside the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The similar items of every item, also of those that no viewer wants.
    pub similar_items: bool,
    /// The similar users of the audience.
    pub similar_users: bool,
}

/// What trends, for those who have no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trending {
    /// Length of a trending list, at least 1.
    pub k: usize,
    /// Length of a bucket in milliseconds, at least 1.
    pub bucket: u64,
    /// How many buckets count, 1 to 16, each half as much as the next younger one. `(buckets + 1) * bucket` is at most
    /// the retention.
    pub buckets: u32,
}

impl Trending {
    /// From when on an event of `ts` counts nothing any more.
    pub fn until(&self, ts: u64) -> u64 {
        (ts / self.bucket + u64::from(self.buckets) + 1).saturating_mul(self.bucket)
    }
}

/// What the graph computes: the parameters of `docs/semantics.md`, already validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most interactions of a user that count: memory safety, not tuning, as the self-join squares it.
    pub history: usize,
    /// Similar items kept of each item.
    pub neighbours: usize,
    /// Length of a list.
    pub k: usize,
    /// An event counts while `ts + retention > t`, in milliseconds.
    pub retention: u64,
    /// Who has a list.
    pub audience: Audience,
    /// By what items are similar.
    pub similarity: Measure,
    /// Least co-occurrence of two similar items.
    pub min_cooccurrence: u32,
    /// Added to popularities in the cosine and in Jaccard: holds back pairs with little evidence.
    pub shrink: u32,
    /// Ranks at which the weight of a profile halves, rising.
    pub stairs: Vec<usize>,
    /// Steps of the quantised logarithm per factor of two.
    pub resolution: u32,
    /// Weight of the source `items`; 0 switches it off.
    pub items: i64,
    /// Users of each item that are looked at for similar users.
    pub sample: usize,
    /// Similar users kept of each user of the audience.
    pub similar_users: usize,
    /// Weight of the source `users`; 0 switches it off, and nothing is kept for it.
    pub users: i64,
    /// What is told beside the lists.
    pub told: Outputs,
    /// What trends; `None`: nothing is kept for it.
    pub trending: Option<Trending>,
    /// How much an operator does before it lets others work, in totals taken anew, about 0.2 us each. At least 1; no
    /// answer depends on it.
    pub slice: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            history: 50,
            neighbours: 30,
            k: 10,
            retention: 30 * 24 * 60 * 60 * 1_000,
            audience: Audience::Within(30 * 60 * 1_000),
            similarity: Measure::Cosine,
            min_cooccurrence: 1,
            shrink: 20,
            stairs: vec![2, 4, 8, 16],
            resolution: 4,
            items: 4,
            sample: 100,
            similar_users: 30,
            users: 1,
            told: Outputs::default(),
            trending: None,
            slice: 10_000,
        }
    }
}

impl Config {
    /// What rank `rank` (0 is the newest) multiplies a level with in the profile: halves from stair to stair.
    pub fn stair(&self, rank: usize) -> u32 {
        let steps = self.stairs.len();
        self.stairs.iter().position(|end| rank < *end).map_or(0, |step| 1 << (steps - 1 - step))
    }

    /// Whether similar users are asked for.
    pub fn asks_for_similar_users(&self) -> bool {
        self.users > 0 || self.told.similar_users
    }

    /// When an event of `ts` leaves the retention.
    pub(crate) fn expires(&self, ts: u64) -> u64 {
        ts.saturating_add(self.retention)
    }
}

use super::graph::Graph;
use super::reader::Reader;
use super::rules::{MAX_DURATION, duration, integer, one_of};

/// The `[trending]` section: lists for those who have no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trending {
    /// Length of a trending list, 0 to 1,000; 0: there are none.
    pub k: u32,
    /// How long a bucket is, in ms, at least 1.
    pub bucket: u64,
    /// How many buckets count, 1 to 16.
    pub buckets: u32,
    /// Whether each room has a list too.
    pub rooms: bool,
}

impl Trending {
    /// Whether rooms have trending lists, so that events are to name theirs.
    pub fn asks_for_rooms(&self) -> bool {
        self.k > 0 && self.rooms
    }
}

pub(super) fn read(reader: &mut Reader, graph: &Graph) -> Trending {
    let known = reader.mistakes();
    let trending = Trending {
        k: reader.read("trending", "k", integer(0..=1_000)),
        bucket: reader.read("trending", "bucket", duration(1..=MAX_DURATION)),
        buckets: reader.read("trending", "buckets", integer(1..=16)),
        rooms: reader.read("trending", "rooms", one_of(&["yes", "no"])) == "yes",
    };
    // Judged on values that could be read; a retention that could not is 0.
    let window = trending.bucket.saturating_mul(u64::from(trending.buckets) + 1);
    if trending.k > 0 && known == reader.mistakes() && reader.whole() && window > graph.retention && graph.retention > 0
    {
        let retention = reader.value("graph", "retention");
        let right = format!(
            "short enough that {} of it, one more than trending.buckets, are at most graph.retention, {} ({})",
            trending.buckets + 1,
            retention.given,
            retention.origin
        );
        reader.refuse("trending", "bucket", right);
    }
    trending
}

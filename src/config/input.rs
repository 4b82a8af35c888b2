use super::reader::Reader;
use super::rules::{MAX_DURATION, duration, integer, size};

/// The `[input]` section: what is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Most events taken together as one tick of a replay, 1 to 10,000,000.
    pub batch: usize,
    /// How far an event's time may lie in the future, in ms.
    pub max_skew: u64,
    /// Longest record in bytes, 1 to 1 GiB.
    pub max_record: usize,
}

pub(super) fn read(reader: &mut Reader) -> Input {
    Input {
        batch: reader.read("input", "batch", integer(1..=10_000_000)),
        max_skew: reader.read("input", "max_skew", duration(0..=MAX_DURATION)),
        max_record: reader.read("input", "max_record", size(1..=1 << 30)),
    }
}

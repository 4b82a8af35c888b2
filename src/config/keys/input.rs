//! `[input]`: limits of the inputs.

use super::Snapshot::MustNotChange;
use super::{Key, Section, key};
use crate::config::rules::{MAX_DURATION, duration, integer, size};

/// Limits of the inputs: `[input]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Events per tick of a replay, 1 to 10,000,000.
    pub batch: usize,
    /// Largest lead of an event's time over the clock, in milliseconds.
    pub max_skew: u64,
    /// Largest step of the event clock at one event, in milliseconds; `None`: any.
    pub max_jump: Option<u64>,
    /// Longest record in bytes, 1 B to 1 GiB.
    pub max_record: usize,
    /// Whether the rooms of events are read. Only trending lists of rooms use them (`trending.rooms`).
    pub rooms: bool,
}

impl Default for Input {
    fn default() -> Self {
        Input { batch: 10_000, max_skew: 5_000, max_jump: None, max_record: 1 << 20, rooms: false }
    }
}

pub(super) fn section() -> Section {
    Section {
        name: "input",
        keys: vec![
            Key {
                name: "batch",
                doc: "Events per tick of a replay, at most. A larger tick replays faster and emits fewer changes in \
                      between; with 1, every event is its own tick.",
                ..key(integer(1..=10_000_000), |config| &mut config.input.batch)
            },
            Key {
                name: "max_skew",
                doc: "Time that an event may lie in the future; an event beyond it is rejected.",
                more: "The clock is the time of the Kafka record, the start of the run for a file, the arrival for a \
                       pipe.",
                ..key(duration(0..=MAX_DURATION), |config| &mut config.input.max_skew)
            },
            Key {
                name: "max_jump",
                example: "\"1d\"",
                doc: "Time by which one event may move the event clock; an event further ahead of the events before it is \
                      rejected. Longer than the longest pause of the inputs: after one, all events would be rejected.",
                more: "Without it a single wrong timestamp can make all other events late. It has no effect by the wall clock.",
                ..key(duration(1..=MAX_DURATION).optional(), |config| &mut config.input.max_jump)
            },
            Key {
                name: "max_record",
                doc: "Longest input record; a longer one is rejected. It bounds the memory of a reader.",
                ..key(size(1..=1 << 30), |config| &mut config.input.max_record)
            },
            Key {
                name: "skip",
                doc: "A `watch` shorter than this is a skip, unless `levels.watch` gives it a level: the item stays out of the \
                      viewer's list for `graph.skipped`. \"0ms\": no watch is a skip.",
                more: "[Taking back](semantics.md#taking-back).",
                snapshot: MustNotChange("the skips in the snapshot are those of the earlier value"),
                ..key(duration(0..=MAX_DURATION), |config| &mut config.levels.skip)
            },
        ],
        ..Section::EMPTY
    }
}

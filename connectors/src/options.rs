use crate::{Columns, Filter, KafkaOptions};

/// How the records of an input are read as events.
#[derive(Clone, Debug)]
pub struct InputOptions {
    /// Names of the fields in a record.
    pub columns: Columns,
    /// Action of every event, for records without one. A CSV file that has an action column as well is a usage error; in
    /// JSON lines a field of that name is then ignored like any unknown one.
    pub action: Option<String>,
    /// Conditions that a record must meet; all must hold.
    pub filters: Vec<Filter>,
    /// Longest record in bytes, without its newline. Values above [`InputOptions::MOST_RECORD_BYTES`] are clamped to it.
    pub max_record_bytes: usize,
    /// Whether events of a topic carry their records, for a dead-letter topic.
    pub originals: bool,
    /// Whether the rooms of events are read. If not, no event has one.
    pub rooms: bool,
    /// Access to topics.
    pub kafka: KafkaOptions,
}

impl InputOptions {
    /// Upper bound of `max_record_bytes`.
    pub const MOST_RECORD_BYTES: usize = 256 << 20;
}

impl Default for InputOptions {
    fn default() -> Self {
        InputOptions {
            columns: Columns::default(),
            action: None,
            filters: Vec::new(),
            max_record_bytes: 1 << 20,
            originals: false,
            rooms: false,
            kafka: KafkaOptions::default(),
        }
    }
}

use crate::{Columns, Filter, KafkaOptions};

/// Options of an input.
#[derive(Clone, Debug)]
pub struct InputOptions {
    /// Columns of the fields of an event.
    pub columns: Columns,
    /// Action of all events, for records without one. A CSV file that also has an action column is a usage error; in JSON
    /// lines such a field is ignored.
    pub action: Option<String>,
    /// Conditions that every record must satisfy.
    pub filters: Vec<Filter>,
    /// Maximum length of a record, in bytes without its newline; at most [`InputOptions::MAX_RECORD_BYTES`].
    pub max_record_bytes: usize,
    /// Whether a batch keeps the original records of a topic, for a dead-letter topic.
    pub originals: bool,
    /// Whether rooms are read.
    pub rooms: bool,
    /// Options of topics.
    pub kafka: KafkaOptions,
}

impl InputOptions {
    /// Upper bound of `max_record_bytes`; a larger value is replaced with it.
    pub const MAX_RECORD_BYTES: usize = 256 << 20;
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

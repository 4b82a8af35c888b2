use crate::{Columns, Filter, KafkaOptions};

/// How the records of an input become events.
#[derive(Clone, Debug)]
pub struct InputOptions {
    /// Where the fields stand in a record.
    pub columns: Columns,
    /// The action of every event, where the records have none. A CSV file with an action column beside it is a usage
    /// error; in JSON lines a field of that name is then an unknown one.
    pub action: Option<String>,
    /// Conditions that a record must meet, all of them.
    pub filters: Vec<Filter>,
    /// Longest record, in bytes without its newline; at most [`InputOptions::MOST_RECORD_BYTES`].
    pub max_record_bytes: usize,
    /// Whether events of a topic are accompanied by their records, for a dead-letter topic.
    pub originals: bool,
    /// Whether rooms are read; without, no event has one.
    pub rooms: bool,
    /// How topics are read.
    pub kafka: KafkaOptions,
}

impl InputOptions {
    /// The bound of `max_record_bytes`: a larger value is taken as this one.
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

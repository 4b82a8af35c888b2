use std::fmt;

/// Position of a record in its source.
///
/// ```
/// use schema::Position;
///
/// assert_eq!(Position::Line { line: 3, byte: 120 }.to_string(), "line 3, byte 120");
/// assert_eq!(Position::Offset { partition: 2, offset: 77 }.to_string(), "partition 2, offset 77");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// In a file or on stdin.
    Line {
        /// First line of the record, from 1. A CSV header is line 1.
        line: u64,
        /// First byte of the record, from 0, in the decompressed stream.
        byte: u64,
    },
    /// In a topic.
    Offset {
        /// Partition of the topic.
        partition: i32,
        /// Offset of the record in the partition.
        offset: i64,
    },
}

impl Position {
    /// Source and position, for messages: `day.csv:3`, or `kafka://b/events, partition 2, offset 77`.
    pub fn place(self, source: &str) -> String {
        match self {
            Position::Line { line, .. } => format!("{source}:{line}"),
            position @ Position::Offset { .. } => format!("{source}, {position}"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Line { line, byte } => write!(f, "line {line}, byte {byte}"),
            Position::Offset { partition, offset } => write!(f, "partition {partition}, offset {offset}"),
        }
    }
}

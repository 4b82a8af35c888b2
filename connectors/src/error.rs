use std::io;

use schema::Position;

use crate::{Columns, ColumnsError, FilterError, SinkError, SourceError, UriError};

/// An input or an output that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URI.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// Not a mapping of columns.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// Not a filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A URI that is understood and cannot be used here.
    #[error("{uri}: {what}; {advice}")]
    Unsupported {
        /// The URI.
        uri: String,
        /// What is not possible.
        what: &'static str,
        /// What is possible instead.
        advice: &'static str,
    },
    /// Columns that a CSV header does not have.
    #[error(
        "{source_name}: no column {}; the header has {}; name the columns with --columns {}, and give \
         --action where every row is of one and there is no column for it",
        quoted(.missing), quoted(.header), Columns::EXAMPLE
    )]
    NoColumn {
        /// The input.
        source_name: String,
        /// What was looked for.
        missing: Vec<String>,
        /// What there is.
        header: Vec<String>,
    },
    /// A column that is needed and stands in a CSV header more than once.
    #[error("{source_name}: the header has column `{column}` twice; rename one of them")]
    RepeatedColumn {
        /// The input.
        source_name: String,
        /// The column.
        column: String,
    },
    /// A constant action beside a column of actions.
    #[error("{source_name}: --action {action} beside the action column `{column}`; leave one of them out")]
    ActionTwice {
        /// The input.
        source_name: String,
        /// The constant action.
        action: String,
        /// The column.
        column: String,
    },
    /// More columns than one record can be read into.
    #[error("columns and filters name {given} columns, at most {limit} can be read; leave some filters out")]
    TooManyColumns {
        /// How many there are.
        given: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An input that cannot be opened, or whose beginning cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An output that cannot be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl OpenError {
    /// Whether the command was wrong (exit code 2) rather than the world (exit code 1).
    pub fn is_usage(&self) -> bool {
        !matches!(self, OpenError::Source(_) | OpenError::Sink(_))
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn source_error(name: &str, position: Option<Position>, cause: io::Error) -> SourceError {
    let advice = match cause.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "allow this user to read it",
        io::ErrorKind::IsADirectory => "name a file",
        io::ErrorKind::UnexpectedEof => "the file is cut off: get a complete copy (events before this point were read)",
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            "the file is damaged or not packed as its name says: get a good copy (events before this point were read)"
        }
        _ => "check the input and run again",
    };
    let what = if position.is_some() { format!("cannot read on: {cause}") } else { format!("cannot open: {cause}") };
    SourceError { source_name: name.to_owned(), position, what, advice: advice.to_owned(), cause: Some(cause) }
}

pub(crate) fn sink_error(name: &str, doing: &str, cause: io::Error) -> SinkError {
    let advice = match cause.kind() {
        io::ErrorKind::NotFound => "create the folder first",
        io::ErrorKind::PermissionDenied => "allow this user to write there, or choose another place",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space, or choose another place",
        io::ErrorKind::IsADirectory => "name a file",
        io::ErrorKind::BrokenPipe => "the reader closed the pipe",
        _ => "check the output and run again",
    };
    SinkError {
        sink_name: name.to_owned(),
        what: format!("cannot {doing}: {cause}"),
        advice: advice.to_owned(),
        closed: cause.kind() == io::ErrorKind::BrokenPipe,
        cause: Some(cause),
    }
}

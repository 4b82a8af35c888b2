use std::io;

use schema::Position;

use crate::{Columns, ColumnsError, FilterError, SinkError, SourceError, UriError};

/// An input or an output cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Invalid URI.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// Invalid mapping of columns.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// Invalid filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A valid URI that is not supported here.
    #[error("{uri}: {what}; {advice}")]
    Unsupported {
        /// The URI.
        uri: String,
        /// Description of the error.
        what: &'static str,
        /// Advice to the user.
        advice: &'static str,
    },
    /// A CSV header lacks columns.
    #[error(
        "{source_name}: no column {}; the header has {}; name the columns with --columns {}, and use \
         --action if all rows have the same action and no column for it",
        quoted(.missing), quoted(.header), Columns::EXAMPLE
    )]
    NoColumn {
        /// The input.
        source_name: String,
        /// The missing columns.
        missing: Vec<String>,
        /// The columns of the header.
        header: Vec<String>,
    },
    /// A CSV header has a required column more than once.
    #[error("{source_name}: the header has column `{column}` twice; rename one of them")]
    RepeatedColumn {
        /// The input.
        source_name: String,
        /// The column.
        column: String,
    },
    /// There are both a constant action and a column of actions.
    #[error("{source_name}: --action {action} and the action column `{column}` exclude each other; omit one of them")]
    ActionTwice {
        /// The input.
        source_name: String,
        /// The constant action.
        action: String,
        /// The column.
        column: String,
    },
    /// A column is nested too deeply.
    #[error("column {column}: fields are nested in more than {limit} objects; use a column with fewer dots")]
    TooDeep {
        /// Start of the column's name.
        column: String,
        /// Maximum number of levels.
        limit: usize,
    },
    /// There are too many columns.
    #[error("columns and filters name {given} columns, the maximum is {limit}; omit some filters")]
    TooManyColumns {
        /// Number of columns.
        given: usize,
        /// Maximum number of columns.
        limit: usize,
    },
    /// An input cannot be opened, or its start cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An output cannot be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl OpenError {
    /// Whether this is a usage error (exit code 2) and not a failure (exit code 1).
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
        io::ErrorKind::UnexpectedEof => {
            "the file is truncated: get a complete copy (events before this point were read)"
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            "the file is damaged or not compressed as its name says: get a good copy (events before this point were read)"
        }
        _ => "check the input and run again",
    };
    let what = if position.is_some() { format!("cannot read: {cause}") } else { format!("cannot open: {cause}") };
    SourceError { source_name: name.to_owned(), position, what, advice: advice.to_owned(), cause: Some(cause) }
}

pub(crate) fn sink_error(name: &str, action: &str, cause: io::Error) -> SinkError {
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
        what: format!("cannot {action}: {cause}"),
        advice: advice.to_owned(),
        closed: cause.kind() == io::ErrorKind::BrokenPipe,
        cause: Some(cause),
    }
}

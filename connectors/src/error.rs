use std::borrow::Cow;
use std::io;

use schema::{Position, listed, shown};

use crate::{ColumnsError, FilterError, FormatError, SinkError, SourceError, UriError};

/// An input or an output cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Invalid URI.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// A file of unknown format.
    #[error(transparent)]
    Format(#[from] FormatError),
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
    /// An invalid option of an input.
    #[error("{input}: {what}")]
    Option {
        /// The input, or the flag.
        input: String,
        /// Description of the error, and what to do.
        what: String,
    },
    /// A file lacks columns.
    #[error(
        "{source_name}: no column {}; the header has {}; {hint}{advice}", listed(.missing), listed(.header)
    )]
    NoColumn {
        /// The input.
        source_name: String,
        /// The missing columns.
        missing: Vec<String>,
        /// The columns of the header.
        header: Vec<String>,
        /// What the header looks like and what to do then, if anything, with a semicolon after it.
        hint: String,
        /// How columns are named.
        advice: &'static str,
    },
    /// Columns are in more than one array, or in an array of arrays.
    #[error("`{}`: columns can be in one array of a record, and not in arrays in it", shown(.column))]
    Arrays {
        /// A column in another array.
        column: String,
    },
    /// A CSV header has a required column more than once.
    #[error("{source_name}: the header has column `{}` twice; rename one of them", shown(.column))]
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

/// An I/O error with a text and an advice of this crate. The payload of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Explained {
    what: Cow<'static, str>,
    advice: &'static str,
}

impl Explained {
    pub(crate) const CR_ONLY: Self =
        Explained::new("the lines end in CR alone", "convert it: tr '\\r' '\\n' < FILE > NEW");
    pub(crate) const UTF16: Self =
        Explained::new("the text is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW");
    /// Advice for a full disk.
    pub(crate) const FREE_SPACE: &'static str = "free some space, or choose another place";

    pub(crate) const fn new(what: &'static str, advice: &'static str) -> Self {
        Explained { what: Cow::Borrowed(what), advice }
    }

    pub(crate) fn with(what: String, advice: &'static str) -> Self {
        Explained { what: what.into(), advice }
    }

    pub(crate) fn header(what: String) -> Self {
        Explained::with(what, "repair the header, or name the delimiter and the quote of the file")
    }

    /// The advice of an error, if it has one.
    fn advice_of(error: &io::Error) -> Option<&'static str> {
        Some(error.get_ref()?.downcast_ref::<Explained>()?.advice)
    }
}

impl From<Explained> for io::Error {
    fn from(explained: Explained) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, explained)
    }
}

pub(crate) fn source_error(name: &str, position: Option<Position>, cause: io::Error) -> SourceError {
    let advice = match (Explained::advice_of(&cause), cause.kind()) {
        (Some(advice), _) => advice,
        (None, kind) => match kind {
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
        },
    };
    let what = if position.is_some() { format!("cannot read: {cause}") } else { format!("cannot open: {cause}") };
    SourceError { source_name: name.to_owned(), position, what, advice: advice.to_owned(), cause: Some(cause) }
}

pub(crate) fn sink_error(name: &str, action: &str, cause: io::Error) -> SinkError {
    let advice = Explained::advice_of(&cause).unwrap_or(match cause.kind() {
        io::ErrorKind::NotFound => "create the folder first",
        io::ErrorKind::PermissionDenied => "allow this user to write there, or choose another place",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Explained::FREE_SPACE,
        io::ErrorKind::IsADirectory => "name a file",
        io::ErrorKind::BrokenPipe => "the reader closed the pipe",
        _ => "check the output and run again",
    });
    SinkError {
        sink_name: name.to_owned(),
        what: format!("cannot {action}: {cause}"),
        advice: advice.to_owned(),
        closed: cause.kind() == io::ErrorKind::BrokenPipe,
        cause: Some(cause),
    }
}

pub(crate) fn unsupported(uri: String, what: &'static str, advice: &'static str) -> OpenError {
    OpenError::Unsupported { uri, what, advice }
}

use std::fmt;

use schema::{LevelsError, RetractionError, shown};

use crate::failure::Failure;

/// All mistakes of a configuration, in the order of the layers. Displayed as a count, then one mistake per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        ConfigErrors(errors)
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 mistake in the configuration:")?,
            count => write!(f, "{count} mistakes in the configuration:")?,
        }
        self.0.iter().take(SHOWN).try_for_each(|error| write!(f, "\n  {error}"))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Mistakes that are shown one by one.
const SHOWN: usize = 20;

/// One mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// Place of the value.
    pub origin: Origin,
    /// The mistake, and what would be right.
    pub problem: Problem,
}

impl ConfigError {
    /// Hides the given value, which may be a secret.
    pub(super) fn hide(&mut self) {
        const HIDDEN: &str = "what was given (hidden)";
        if let Problem::Wrong { given, .. } = &mut self.problem {
            *given = HIDDEN.into();
        }
        if let Origin::Set { text, .. } = &mut self.origin {
            text.truncate(text.find('=').unwrap_or(0));
            text.push_str("=(hidden)");
        }
    }
}

/// Place of a value, ordered by layer, then by line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The built-in defaults.
    Defaults {
        /// Line, from 1.
        line: usize,
    },
    /// The user's file.
    File {
        /// Path as it was given.
        path: String,
        /// Line, from 1; `None` for the whole file.
        line: Option<usize>,
    },
    /// The command line.
    Set {
        /// Index among the `--set`s, from 0.
        position: usize,
        /// `key=value`, without a value that may be a secret.
        text: String,
    },
}

impl Origin {
    /// The number of the layer. Higher layers override lower ones.
    pub(super) fn layer(&self) -> usize {
        match self {
            Origin::Defaults { .. } => 0,
            Origin::File { .. } => 1,
            Origin::Set { position, .. } => 2 + position,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Defaults { line } => write!(f, "built-in deltarec.toml:{line}"),
            Origin::File { path, line: Some(line) } => write!(f, "{path}:{line}"),
            Origin::File { path, line: None } => write!(f, "{path}"),
            Origin::Set { text, .. } => write!(f, "--set {}", one_line(text)),
        }
    }
}

/// A mistake, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read ({reason}): check the path given to --config")]
    Unreadable {
        /// Message of the operating system.
        reason: String,
    },
    /// A line that is not TOML.
    #[error("not valid TOML at column {column}: {message}")]
    Syntax {
        /// Column in characters, from 1.
        column: usize,
        /// Message of the parser.
        message: String,
    },
    /// A `--set` without a key or without a TOML value.
    #[error(r#"{message}; write KEY=VALUE, as in graph.k=20 or 'levels.watch=[["5s", 1]]'"#)]
    Set {
        /// Description of what is missing.
        message: String,
    },
    /// A key that does not exist.
    #[error(
        "unknown key {}{}; {} has the keys {known}",
        shown(key), did_you_mean(meant.as_deref()), section_name(section)
    )]
    UnknownKey {
        /// Dotted key.
        key: String,
        /// Section it was looked up in; empty for the top of the file.
        section: String,
        /// Dotted key that was probably meant.
        meant: Option<String>,
        /// Keys of the section, separated by commas.
        known: String,
    },
    /// A value of the wrong type, out of range, or malformed.
    #[error("{} must be {right}, not {given}", shown(key))]
    Wrong {
        /// Dotted key.
        key: String,
        /// Description of valid values.
        right: String,
        /// Value as it was written.
        given: String,
    },
    /// An invalid table of levels.
    #[error(transparent)]
    Levels(#[from] LevelsError),
    /// An invalid retraction.
    #[error(transparent)]
    Retraction(#[from] RetractionError),
}

fn did_you_mean(meant: Option<&str>) -> String {
    meant.map(|key| format!(" (did you mean {key}?)")).unwrap_or_default()
}

fn section_name(section: &str) -> String {
    if section.is_empty() { "the top level".into() } else { format!("[{}]", shown(section)) }
}

/// The text on one line, cut after 60 characters, for a message.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut line = String::new();
    // Not more words than fit are joined: a value may be as long as the file.
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(LONGEST + 1).map(|c| if c.is_control() { '\u{fffd}' } else { c }));
        if let Some((end, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(end);
            return line + "...";
        }
    }
    line
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Usage(errors.into())
    }
}

use std::fmt;

use crate::failure::Failure;
use schema::LevelsError;

/// All mistakes of a configuration: a count, then one mistake a line, in the order of the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        ConfigErrors(errors)
    }

    /// The mistakes, at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 mistake in the configuration:")?,
            count => write!(f, "{count} mistakes in the configuration:")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// One mistake, and where it was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// What, and what would be right.
    pub problem: Problem,
}

impl ConfigError {
    /// Takes out what was given.
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

/// Where a value was written. The order is that of the layers, then of the lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the embedded file.
    Defaults {
        /// Counted from 1.
        line: usize,
    },
    /// In the user's file.
    File {
        /// As it was given.
        path: String,
        /// Counted from 1; none where the whole file is meant.
        line: Option<usize>,
    },
    /// On the command line.
    Set {
        /// Which of the `--set`s, from 0.
        position: usize,
        /// `key=value` as it was given.
        text: String,
    },
}

impl Origin {
    /// The position of its layer: a higher one overrides a lower one.
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

/// What is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read ({reason}): check the path given to --config")]
    Unreadable {
        /// In the words of the operating system.
        reason: String,
    },
    /// A line that is not TOML.
    #[error("not valid TOML at column {column}: {message}")]
    Syntax {
        /// In characters, from 1.
        column: usize,
        /// In the words of the parser.
        message: String,
    },
    /// A `--set` that has no key, or no value that TOML knows.
    #[error(r#"{message}; write KEY=VALUE, as in graph.k=20 or 'levels.watch=[["5s", 1]]'"#)]
    Set {
        /// What is missing.
        message: String,
    },
    /// A key that does not exist.
    #[error("unknown key {key}{}; {} has the keys {known}", did_you_mean(meant.as_deref()), section_name(section))]
    UnknownKey {
        /// The whole key.
        key: String,
        /// The section it was looked for in; empty for the top of the file.
        section: String,
        /// The whole key that was probably meant.
        meant: Option<String>,
        /// The keys of the section.
        known: String,
    },
    /// A value of the wrong type, out of range, or malformed.
    #[error("{key} must be {right}, not {given}")]
    Wrong {
        /// The whole key.
        key: String,
        /// What would be right.
        right: String,
        /// What was given, as it was written.
        given: String,
    },
    /// A table of levels that cannot be.
    #[error(transparent)]
    Levels(#[from] LevelsError),
}

fn did_you_mean(meant: Option<&str>) -> String {
    meant.map(|key| format!(" (did you mean {key}?)")).unwrap_or_default()
}

fn section_name(section: &str) -> String {
    if section.is_empty() { "the top level".into() } else { format!("[{section}]") }
}

/// A text for a message: on one line, and at most 60 characters of it.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 60;
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Usage(errors.into())
    }
}

use std::path::Path;

use toml::de::DeTable;

use super::error::{ConfigError, Origin, Problem};
use super::raw::{Table, table};

/// The layer of a file, or every line in it that is not TOML.
pub(super) fn read_file(path: &Path) -> Result<Table, Vec<ConfigError>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = Problem::Unreadable { reason: error.to_string() };
        vec![ConfigError { origin: Origin::File { path: name.clone(), line: None }, problem }]
    })?;
    // A search from the start for every key would make a large file quadratic.
    let line_ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| line_ends.partition_point(|end| *end < at) + 1;
    let place = |at| Origin::File { path: name.clone(), line: Some(line(at)) };
    let (entries, errors) = DeTable::parse_recoverable(&text);
    if errors.is_empty() {
        return Ok(table(&text, entries.get_ref(), &place));
    }
    let mut mistakes: Vec<(usize, String)> =
        errors.iter().map(|error| (error.span().map_or(0, |span| span.start), words(error))).collect();
    mistakes.sort();
    let mut errors: Vec<ConfigError> = mistakes
        .into_iter()
        .map(|(at, message)| {
            let problem = Problem::Syntax { column: line_and_column(&text, at).1, message };
            ConfigError { origin: place(at), problem }
        })
        .collect();
    errors.dedup_by(|later, first| later.origin == first.origin); // one mistake can cause more errors in its line
    Err(errors)
}

/// The parser's message, without the expectations of its grammar.
pub(super) fn words(error: &toml::de::Error) -> String {
    let grammar = [", expected nothing", ", expected literal string"];
    grammar.iter().fold(error.message(), |message, end| message.trim_end_matches(end)).into()
}

/// Line and column of the byte `at` of `text`, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

//! The layers, parsed and laid one over the other.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::DEFAULTS;
use super::error::{ConfigError, Origin, Problem};
use super::raw::{Kind, Table, Value, dotted, table};
use super::suggest::suggest;

/// The section whose keys are the user's own: a new action is a new key.
const OPEN_SECTION: &str = "levels";

/// All layers in one tree of the shape of the defaults.
pub(super) struct Layers {
    pub(super) root: Table,
    /// The mistakes that show before any value is read.
    pub(super) errors: Vec<ConfigError>,
    /// Whether no layer was lost as a whole.
    pub(super) whole: bool,
    /// All keys of the defaults, dotted.
    known: Vec<String>,
}

/// The defaults, under `file`, under each of `sets` in order.
pub(super) fn read(file: Option<&Path>, sets: &[String]) -> Layers {
    let defaults = DeTable::parse(DEFAULTS).expect("the embedded file is TOML, which the tests check");
    let line = |at| Origin::Defaults { line: line_and_column(DEFAULTS, at).0 };
    let root = table(DEFAULTS, defaults.get_ref(), &line);
    let mut known = Vec::new();
    collect_keys(&root, "", &mut known);

    let mut layers = Layers { root, errors: Vec::new(), whole: true, known };
    if let Some(path) = file {
        layers.lay(read_file(path));
    }
    for (position, text) in sets.iter().enumerate() {
        layers.lay(read_set(position, text).map_err(|error| vec![error]));
    }
    layers
}

impl Layers {
    fn lay(&mut self, layer: Result<Table, Vec<ConfigError>>) {
        match layer {
            Ok(over) => merge(&mut self.root, over, "", &self.known, &mut self.errors),
            Err(errors) => {
                self.errors.extend(errors);
                self.whole = false;
            }
        }
    }
}

/// Lays `over` on `base`, key by key. What does not fit the shape of `base` is left out and reported.
fn merge(base: &mut Table, over: Table, section: &str, known: &[String], errors: &mut Vec<ConfigError>) {
    for (name, value) in over {
        let key = dotted(section, &name);
        let origin = value.origin.clone();
        let problem = match (base.get_mut(&name), value.kind) {
            (None, _) if section != OPEN_SECTION => unknown_key(key, &name, section, base, known),
            (Some(Value { kind: Kind::Table(under), .. }), Kind::Table(over)) => {
                merge(under, over, &key, known, errors);
                continue;
            }
            (Some(Value { kind: Kind::Table(_), .. }), _) => {
                let right = format!("a section, [{key}] or {key}.KEY = VALUE");
                Problem::Wrong { key, right, given: value.given }
            }
            (_, Kind::Table(_)) => Problem::Wrong { key, right: "a single value".into(), given: value.given },
            (covered, kind) => {
                let covered = covered.map(|under| Box::new(under.clone()));
                base.insert(name, Value { kind, covered, ..value });
                continue;
            }
        };
        errors.push(ConfigError { origin, problem });
    }
}

fn unknown_key(key: String, name: &str, section: &str, base: &Table, known: &[String]) -> Problem {
    let elsewhere = |key: &&String| key.rsplit('.').next() == Some(name);
    let meant = suggest(name, base.keys().map(String::as_str))
        .map(|near| dotted(section, near))
        .or_else(|| known.iter().find(elsewhere).cloned());
    let names: Vec<&str> = base.keys().map(String::as_str).collect();
    Problem::UnknownKey { key, section: section.into(), meant, known: names.join(", ") }
}

fn collect_keys(entries: &Table, section: &str, keys: &mut Vec<String>) {
    for (name, value) in entries {
        let key = dotted(section, name);
        if let Kind::Table(entries) = &value.kind {
            collect_keys(entries, &key, keys);
        }
        keys.push(key);
    }
}

fn read_file(path: &Path) -> Result<Table, Vec<ConfigError>> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = Problem::Unreadable { reason: error.to_string() };
        vec![ConfigError { origin: Origin::File { path: shown.clone(), line: None }, problem }]
    })?;
    let place = |at| Origin::File { path: shown.clone(), line: Some(line_and_column(&text, at).0) };
    let (entries, errors) = DeTable::parse_recoverable(&text);
    if errors.is_empty() {
        return Ok(table(&text, entries.get_ref(), &place));
    }
    let mut slips: Vec<(usize, String)> =
        errors.iter().map(|error| (error.span().map_or(0, |span| span.start), words(error))).collect();
    slips.sort();
    let mut errors: Vec<ConfigError> = slips
        .into_iter()
        .map(|(at, message)| {
            let problem = Problem::Syntax { column: line_and_column(&text, at).1, message };
            ConfigError { origin: place(at), problem }
        })
        .collect();
    errors.dedup_by(|later, first| later.origin == first.origin); // one slip may upset the rest of its line
    Err(errors)
}

/// What the parser says, without what it says of its own grammar.
fn words(error: &toml::de::Error) -> String {
    let grammar = [", expected nothing", ", expected literal string"];
    grammar.iter().fold(error.message(), |message, end| message.trim_end_matches(end)).into()
}

/// `key=value`: the value as TOML, or else a word.
fn read_set(position: usize, text: &str) -> Result<Table, ConfigError> {
    let origin = Origin::Set { position, text: text.into() };
    let wrong = |message: String| ConfigError { origin: origin.clone(), problem: Problem::Set { message } };
    // A quoted part of a key may itself contain `=`.
    let (mut path, written) = text
        .match_indices('=')
        .find_map(|(at, _)| Some((key_path(&text[..at])?, text[at + 1..].trim())))
        .ok_or_else(|| wrong("it does not begin with a key and `=`".into()))?;
    if written.is_empty() {
        return Err(wrong("there is nothing after `=`".into()));
    }
    let value = match DeValue::parse(written) {
        Ok(value) => Value::new(written, &value, origin.clone(), &|_| origin.clone()),
        Err(_) if is_word(written) => Value::word(written, origin.clone()),
        Err(error) => return Err(wrong(format!("the value is not TOML ({})", words(&error)))),
    };
    let last = path.pop().expect("a key has at least one part");
    let innermost = Table::from([(last, value)]);
    Ok(path.into_iter().rev().fold(innermost, |inner, part| {
        let section =
            Value { kind: Kind::Table(inner), given: "a table".into(), origin: origin.clone(), covered: None };
        Table::from([(part, section)])
    }))
}

/// The parts of a dotted key, or none if it is not one.
fn key_path(key: &str) -> Option<Vec<String>> {
    if key.contains('\n') {
        return None;
    }
    let line = format!("{key} = 0");
    let mut entries = DeTable::parse(&line).ok()?.into_inner();
    let mut path = Vec::new();
    while let Some((part, value)) = entries.into_iter().next() {
        path.push(part.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => entries = inner,
            _ => return Some(path),
        }
    }
    None
}

/// A value that needs no quotes on the command line: `all`, `30d`, `broker:9092`, `./state`.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-.+:/".contains(c))
}

/// Line and column of a byte of `text`, both from 1, the column in characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

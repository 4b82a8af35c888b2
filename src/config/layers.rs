//! The layers, laid one over the other.

use std::path::Path;

use toml::de::DeTable;

use super::DEFAULTS;
use super::error::{ConfigError, Origin, Problem};
use super::file::{line_and_column, read_file};
use super::raw::{Kind, Table, Value, dotted, table};
use super::set::read_set;
use super::suggest::suggest;

/// The sections whose keys are not all in the defaults: a new action is a new key, and librdkafka has its own.
const OPEN_SECTIONS: [&str; 2] = ["levels", KAFKA_OPTIONS];

/// The section whose keys have dots in them.
const KAFKA_OPTIONS: &str = "kafka.options";

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
        let origin = Origin::Set { position, text: text.clone() };
        let wrong = |message| vec![ConfigError { origin: origin.clone(), problem: Problem::Set { message } }];
        layers.lay(read_set(&origin, text).map_err(wrong));
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
            (None, _) if !OPEN_SECTIONS.contains(&section) => unknown_key(key, &name, section, base, known),
            (Some(Value { kind: Kind::Table(under), .. }), Kind::Table(mut over)) => {
                if key == KAFKA_OPTIONS {
                    over = flat(over);
                }
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

/// Keys with dots in them, which TOML reads as tables in tables unless they are quoted.
fn flat(entries: Table) -> Table {
    let mut keys = Table::new();
    for (name, value) in entries {
        match value.kind {
            Kind::Table(inner) => {
                keys.extend(flat(inner).into_iter().map(|(rest, value)| (format!("{name}.{rest}"), value)));
            }
            kind => drop(keys.insert(name, Value { kind, ..value })),
        }
    }
    keys
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

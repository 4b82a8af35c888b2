//! The layers and how they are merged.

use std::path::Path;

use toml::de::DeTable;

use super::DEFAULTS;
use super::error::{ConfigError, Origin, Problem};
use super::file::{line_and_column, read_file};
use super::keys::{self, SECTIONS};
use super::raw::{Kind, Table, Value, dotted, table};
use super::set::read_set;

/// The section whose keys contain dots: options of librdkafka.
const DOTTED_NAMES: &str = "kafka.options";

/// All layers, merged into one tree with the sections of the defaults.
pub(super) struct Layers {
    pub(super) root: Table,
    pub(super) errors: Vec<ConfigError>,
    /// Old names and spellings that were used.
    pub(super) warnings: Vec<String>,
    /// Whether every layer could be parsed.
    pub(super) whole: bool,
}

/// The defaults, overridden by `file`, overridden by each of `sets` in order.
pub(super) fn read(file: Option<&Path>, sets: &[String]) -> Layers {
    let defaults = DeTable::parse(&DEFAULTS).expect("the defaults are TOML, which the tests check");
    let line = |at| Origin::Defaults { line: line_and_column(&DEFAULTS, at).0 };
    let root = table(&DEFAULTS, defaults.get_ref(), &line);
    let mut layers = Layers { root, errors: Vec::new(), warnings: Vec::new(), whole: true };
    if let Some(path) = file {
        layers.add(read_file(path));
    }
    for (position, text) in sets.iter().enumerate() {
        let origin = Origin::Set { position, text: text.clone() };
        let wrong = |message| vec![ConfigError { origin: origin.clone(), problem: Problem::Set { message } }];
        layers.add(read_set(&origin, text).map_err(wrong));
    }
    layers
}

impl Layers {
    fn add(&mut self, layer: Result<Table, Vec<ConfigError>>) {
        match layer {
            Ok(mut layer) => {
                for (name, key) in keys::all() {
                    key.formerly.iter().for_each(|old| rename(&mut layer, old, &name, &mut self.warnings));
                }
                merge(&mut self.root, layer, "", &mut self.errors);
            }
            Err(errors) => {
                self.errors.extend(errors);
                self.whole = false;
            }
        }
    }
}

/// Moves the value of a key that has a new name, with a warning. If the layer has both names, the new one counts.
pub(super) fn rename(layer: &mut Table, old: &str, new: &str, warnings: &mut Vec<String>) {
    let Some(value) = take(layer, old) else { return };
    warnings.push(format!("{}: {old} is an old name: write {new}", value.origin));
    let (sections, name) = new.rsplit_once('.').unwrap_or(("", new));
    let mut table = layer;
    for part in sections.split('.').filter(|part| !part.is_empty()) {
        let section = || Value::table(Table::new(), value.origin.clone());
        match &mut table.entry(part.to_owned()).or_insert_with(section).kind {
            Kind::Table(inner) => table = inner,
            _ => return, // merging reports it
        }
    }
    table.entry(name.to_owned()).or_insert(value);
}

/// Removes the value of a dotted key, and the sections that are empty without it.
fn take(table: &mut Table, key: &str) -> Option<Value> {
    let Some((section, rest)) = key.split_once('.') else { return table.remove(key) };
    let Kind::Table(inner) = &mut table.get_mut(section)?.kind else { return None };
    let value = take(inner, rest)?;
    if inner.is_empty() {
        table.remove(section);
    }
    Some(value)
}

/// Merges `over` into `base`, key by key. Values that do not fit the sections and keys are skipped and reported.
fn merge(base: &mut Table, over: Table, section: &str, errors: &mut Vec<ConfigError>) {
    let known = keys::names_in(section);
    let is_open = SECTIONS.iter().any(|known| known.open && known.name == section);
    for (name, value) in over {
        let key = dotted(section, &name);
        let origin = value.origin.clone();
        let problem = match (base.get_mut(&name), value.kind) {
            (None, _) if !is_open && !known.contains(&name.as_str()) => unknown_key(key, &name, section, &known),
            (Some(Value { kind: Kind::Table(under), .. }), Kind::Table(mut over)) => {
                if key == DOTTED_NAMES {
                    over = flat(over);
                }
                merge(under, over, &key, errors);
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

/// Names with dots in them, which TOML reads as nested tables unless they are quoted.
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

fn unknown_key(key: String, name: &str, section: &str, known: &[&str]) -> Problem {
    let elsewhere = || keys::all().find(|(_, key)| key.name == name).map(|(key, _)| key);
    let meant = suggest(name, known).map(|near| dotted(section, near)).or_else(elsewhere);
    Problem::UnknownKey { key, section: section.into(), meant, known: known.join(", ") }
}

/// The one of `names` that is closest to `name`, if at most a third of its characters differ.
fn suggest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let length = |candidate: &str| name.chars().count().max(candidate.chars().count());
    names
        .iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), *candidate))
        .filter(|(edits, candidate)| *edits < length(candidate) && *edits <= length(candidate).div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_near_names() {
        let names = ["history", "k", "neighbours", "stairs"];
        assert_eq!(suggest("histroy", &names), Some("history"));
        assert_eq!(suggest("neighbors", &names), Some("neighbours"));
        assert_eq!(suggest("stars", &names), Some("stairs"));
        assert_eq!(suggest("x", &names), None, "one letter is as near to any other");
        assert_eq!(suggest("colour", &names), None);
    }

    #[test]
    fn understands_the_old_name_of_a_key_and_warns() {
        let set = |text: &str| {
            let origin = Origin::Set { position: 0, text: text.into() };
            read_set(&origin, text).unwrap()
        };
        let mut warnings = Vec::new();
        let mut layer = set("lists.length=7");
        rename(&mut layer, "lists.length", "graph.lists.k", &mut warnings);
        assert_eq!(format!("{:?}", take(&mut layer, "graph.lists.k").unwrap().kind), "Integer(7)");
        assert_eq!(warnings, ["--set lists.length=(hidden): lists.length is an old name: write graph.lists.k"]);

        let mut both = set("graph={length=7, k=8}");
        rename(&mut both, "graph.length", "graph.k", &mut warnings);
        assert_eq!(format!("{:?}", take(&mut both, "graph.k").unwrap().kind), "Integer(8)", "the new name counts");
        assert!(both.is_empty());

        rename(&mut set("graph.k=3"), "graph.length", "graph.k", &mut warnings);
        assert_eq!(warnings.len(), 2, "no warning without the old name");
    }
}

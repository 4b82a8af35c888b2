//! The layers and how they are merged.

use std::path::Path;

use toml::de::DeTable;

use super::error::{ConfigError, Origin, Problem};
use super::file::{line_and_column, read_file};
use super::keys::{self, Section};
use super::public::{public_key, public_set};
use super::raw::{Kind, Table, Value, dotted, table};
use super::reader::Reader;
use super::set::read_set;

/// The section whose keys contain dots: options of librdkafka.
const DOTTED_NAMES: &str = "kafka.options";

/// Merges `defaults`, overridden by `file`, overridden by each of `sets` in order.
pub(super) fn read(sections: &[Section], defaults: &str, file: Option<&Path>, sets: &[String]) -> Reader {
    let parsed = DeTable::parse(defaults).expect("the defaults are TOML, which the tests check");
    let line = |at| Origin::Defaults { line: line_and_column(defaults, at).0 };
    let mut reader = Reader::new(table(defaults, parsed.get_ref(), &line));
    let file = file.map(read_file);
    let sets = sets.iter().enumerate().map(|(position, text)| {
        let origin = Origin::Set { position, text: public_set(text) };
        let wrong = |message| vec![ConfigError { origin: origin.clone(), problem: Problem::Set { message } }];
        read_set(&origin, text).map_err(wrong)
    });
    for layer in file.into_iter().chain(sets) {
        match layer {
            Ok(layer) => merge(sections, &mut reader.root, layer, "", &mut reader.errors),
            Err(errors) => {
                reader.errors.extend(errors);
                reader.whole = false;
            }
        }
    }
    reader
}

/// Merges `over` into `base`, key by key. Values that do not fit the sections and keys are skipped and reported.
fn merge(sections: &[Section], base: &mut Table, over: Table, section: &str, errors: &mut Vec<ConfigError>) {
    let known = names_in(sections, section);
    let this = sections.iter().find(|known| known.name == section);
    let is_open = this.is_some_and(|known| known.open);
    let entry_keys = this.map_or(&[][..], |known| known.entry_keys);
    for (name, mut value) in over {
        let key = dotted(section, &name);
        if !entry_keys.is_empty() {
            errors.extend(unknown_keys_of_entry(sections, &key, &value, entry_keys));
            value.show_keys();
            value.covered = base.get(&name).map(|under| Box::new(under.clone()));
            base.insert(name, value);
            continue;
        }
        let origin = value.origin.clone();
        let problem = match (base.get_mut(&name), value.kind) {
            (None, _) if !is_open && !known.contains(&name.as_str()) => {
                unknown_key(sections, &key, &name, section, &known)
            }
            (Some(Value { kind: Kind::Table(under), .. }), Kind::Table(mut over)) => {
                if key == DOTTED_NAMES {
                    over = flat(over);
                }
                merge(sections, under, over, &key, errors);
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

/// The names in a section, sorted: its keys and subsections. The empty section is the top of the file.
pub(super) fn names_in(sections: &[Section], section: &str) -> Vec<&'static str> {
    let below = |name: &'static str| match section {
        "" => Some(name),
        _ => name.strip_prefix(section)?.strip_prefix('.'),
    };
    let first = |rest: &'static str| rest.split('.').next().unwrap_or(rest);
    let keys = sections.iter().filter(|known| known.name == section).flat_map(|known| &known.keys);
    let mut names: Vec<&str> = sections.iter().filter_map(|known| below(known.name)).map(first).collect();
    names.extend(keys.map(|key| key.name));
    names.sort_unstable();
    names.dedup();
    names
}

/// The keys of a value, a table, that are none of `known`.
fn unknown_keys_of_entry(sections: &[Section], key: &str, value: &Value, known: &[&str]) -> Vec<ConfigError> {
    let Kind::Table(entries) = &value.kind else { return Vec::new() };
    let unknown = entries.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let mistake = |(name, value): (&String, &Value)| ConfigError {
        origin: value.origin.clone(),
        problem: unknown_key(sections, &dotted(key, name), name, key, known),
    };
    unknown.map(mistake).collect()
}

fn unknown_key(sections: &[Section], key: &str, name: &str, section: &str, known: &[&str]) -> Problem {
    let elsewhere = || keys::all(sections).find(|(_, key)| key.name == name).map(|(key, _)| key);
    let meant = suggest(name, known).map(|near| dotted(section, near)).or_else(elsewhere);
    Problem::UnknownKey { key: public_key(key), section: section.into(), meant, known: known.join(", ") }
}

/// The one of `names` that is closest to `name`, if at most a third of its characters differ.
pub(super) fn suggest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
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
}

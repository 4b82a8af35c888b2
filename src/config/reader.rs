use std::collections::BTreeSet;

use super::error::{ConfigError, ConfigErrors, Origin, Problem};
use super::keys::SECTIONS;
use super::layers::Layers;
use super::raw::{Kind, Table, Value, dotted};
use super::rules::Rule;
use super::{Config, Graph, Input, State};

/// Reads the merged layers key by key. Also returns warnings about old spellings.
pub(super) fn read(layers: Layers) -> (Result<Config, ConfigErrors>, Vec<String>) {
    // Every key overwrites its field.
    let mut config = Config {
        graph: Graph::default(),
        levels: schema::Levels::default(),
        input: Input::default(),
        state: State::default(),
        identity_key: None,
        kafka: connectors::KafkaOptions::default(),
    };
    let Layers { root, errors, warnings, whole } = layers;
    let mut reader = Reader { root, errors, warnings, whole, unread: BTreeSet::new() };
    for section in SECTIONS.iter() {
        for key in &section.keys {
            let known = reader.errors.len();
            (key.read)(&mut reader, section.name, key.name, &mut config);
            if key.secret {
                reader.errors[known..].iter_mut().for_each(ConfigError::hide);
            }
        }
    }
    for section in SECTIONS.iter() {
        (section.finish)(&mut reader, &mut config);
    }
    let result = if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(reader.errors)) };
    (result, reader.warnings)
}

/// Reads typed values out of the merged layers and collects the mistakes.
pub(super) struct Reader {
    root: Table,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
    /// Whether every layer could be parsed.
    whole: bool,
    /// Keys with a wrong value.
    unread: BTreeSet<String>,
}

impl Reader {
    /// The value of `name` in `section`, if it is set and valid. The values that it covers are checked too: a mistake is
    /// reported also when a later layer overrides it.
    pub(super) fn read<T: 'static>(&mut self, section: &str, name: &str, rule: &Rule<T>) -> Option<T> {
        let key = dotted(section, name);
        let layers = std::iter::successors(find(&self.root, section, name), |value| value.covered.as_deref());
        let mut layers: Vec<&Value> = layers.collect();
        let winner = layers.first().copied();
        layers.reverse();
        let mut read = None;
        let mut is_respelled = false;
        for value in layers {
            read = match rule.apply(&value.kind) {
                Ok(read) => Some(read),
                Err(right) => {
                    self.errors.push(wrong(value, &key, right));
                    None
                }
            };
            if let Some(spelling) = (rule.respelled)(&value.kind).filter(|_| !is_respelled) {
                is_respelled = true;
                let Value { origin, given, .. } = value;
                self.warnings.push(format!("{origin}: {key} = {given} is an old spelling: write {key} = {spelling}"));
            }
        }
        if winner.is_some() && read.is_none() {
            self.unread.insert(key);
        }
        read
    }

    /// Whether the values of `keys` are those that the user wants: valid, and no layer lost that may set them.
    pub(super) fn is_read(&self, keys: &[&str]) -> bool {
        self.whole && !keys.iter().any(|key| self.unread.contains(*key))
    }

    /// The names of a section's values.
    pub(super) fn names(&self, section: &str) -> Vec<String> {
        find_section(&self.root, section).keys().cloned().collect()
    }

    /// The raw value of a key that is set.
    pub(super) fn value(&self, section: &str, name: &str) -> &Value {
        find(&self.root, section, name).unwrap_or_else(|| panic!("{section}.{name} is set"))
    }

    /// Reports that the value of `name` in `section` is not `right`.
    pub(super) fn refuse(&mut self, section: &str, name: &str, right: String) {
        let error = wrong(self.value(section, name), &dotted(section, name), right);
        self.errors.push(error);
    }

    /// [`Reader::refuse`] without repeating the value.
    pub(super) fn refuse_hidden(&mut self, section: &str, name: &str, right: String) {
        self.refuse(section, name, right);
        self.errors.last_mut().into_iter().for_each(ConfigError::hide);
    }

    /// Reports that `name` in `section` is required because of the value of another key in the section.
    pub(super) fn require(&mut self, section: &str, name: &str, because: &str, right: &str) {
        let origin = self.value(section, because).origin.clone();
        let given = find(&self.root, section, name).map_or_else(|| "absent".to_owned(), |value| value.given.clone());
        self.report(origin, Problem::Wrong { key: dotted(section, name), right: right.into(), given });
    }

    /// Reports a mistake.
    pub(super) fn report(&mut self, origin: Origin, problem: Problem) {
        self.errors.push(ConfigError { origin, problem });
    }
}

fn find<'a>(root: &'a Table, section: &str, name: &str) -> Option<&'a Value> {
    find_section(root, section).get(name)
}

/// The merged layers have every section of the defaults, which have every section of the table of keys.
fn find_section<'a>(root: &'a Table, section: &str) -> &'a Table {
    section.split('.').fold(root, |table, part| match table.get(part).map(|value| &value.kind) {
        Some(Kind::Table(inner)) => inner,
        _ => panic!("the defaults have no section [{section}]"),
    })
}

fn wrong(value: &Value, key: &str, right: String) -> ConfigError {
    let problem = Problem::Wrong { key: key.into(), right, given: value.given.clone() };
    ConfigError { origin: value.origin.clone(), problem }
}

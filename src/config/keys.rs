//! The table of configuration keys, one file per section.
//!
//! To add a key: add its entry, and its field if it has a new one; then regenerate `deltarec.toml` and
//! `docs/configuration.md` with `UPDATE_DOCS=1 cargo test --lib config`.

pub(super) mod catalogue;
mod graph;
mod identity;
pub(super) mod input;
mod kafka;
mod levels;
mod retractions;
pub(super) mod state;
mod trending;

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;

use super::Config;
use super::error::ConfigError;
use super::reader::Reader;
use super::rules::{Rule, to_toml};

/// All sections, in the order of `deltarec.toml`.
pub(super) static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| {
    let mut sections = graph::sections();
    sections.extend([levels::section(), retractions::section(), input::section(), catalogue::section()]);
    sections.extend([trending::section(), state::section(), identity::section()]);
    sections.extend(kafka::sections());
    sections
});

/// One section of the configuration.
pub(super) struct Section {
    /// Dotted name: `graph.sources`.
    pub(super) name: &'static str,
    /// Comment above the section in `deltarec.toml`; empty for none.
    pub(super) doc: &'static str,
    pub(super) keys: Vec<Key>,
    /// Whether names without an entry are valid. `finish` reads them.
    pub(super) open: bool,
    /// Keys of each value of the section, which is then a table that a later layer replaces as a whole. Empty: values are
    /// single.
    pub(super) entry_keys: &'static [&'static str],
    /// Row of `docs/configuration.md` for the names without an entry; empty for none.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests render the page"))]
    pub(super) other_names: &'static str,
    /// Reads names without an entry and checks conditions between keys, after all entries of all sections.
    pub(super) finish: fn(&mut Reader, &mut Config),
    /// Value that represents the section in a snapshot, instead of the values of its keys.
    pub(super) stored: Option<fn(&Config) -> Value>,
    /// Whether the section is off, which snapshots store as null; `None` if it cannot be off.
    pub(super) is_off: Option<fn(&Config) -> bool>,
    /// Effect on snapshots of a change of the section as a whole.
    pub(super) snapshot: Snapshot,
}

impl Section {
    /// A closed section without keys, comments and conditions.
    const EMPTY: Section = Section {
        name: "",
        doc: "",
        keys: Vec::new(),
        open: false,
        entry_keys: &[],
        other_names: "",
        finish: |_, _| {},
        stored: None,
        is_off: None,
        snapshot: Snapshot::Unaffected,
    };
}

/// One key.
pub(super) struct Key {
    /// Name within the section.
    pub(super) name: &'static str,
    /// Default as a TOML value, from the default of the field; empty for a key that is not set by default.
    pub(super) default: String,
    /// Example as a TOML value, shown for a key without a default.
    pub(super) example: &'static str,
    /// Documentation for `deltarec.toml` and `docs/configuration.md`. The range is added to it.
    pub(super) doc: &'static str,
    /// Further documentation for `docs/configuration.md`, in Markdown.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests render the page"))]
    pub(super) more: &'static str,
    /// Whether messages hide the value, because it may be a secret.
    pub(super) secret: bool,
    /// Effect of a change on the use of an earlier snapshot.
    pub(super) snapshot: Snapshot,
    /// What the processes of a cluster must agree on.
    pub(super) cluster: Cluster,
    /// Type for the documentation.
    pub(super) type_name: &'static str,
    /// Valid values for the documentation.
    pub(super) range: String,
    /// Reads the key of the given section and name into its field.
    pub(super) read: Read,
    /// JSON of the field; `None` for a key that is stored with its section. The configuration is not changed.
    pub(super) json: Option<Json>,
}

pub(super) type Read = Box<dyn Fn(&mut Reader, &str, &str, &mut Config) + Send + Sync>;
pub(super) type Json = Box<dyn Fn(&mut Config) -> Value + Send + Sync>;

/// Effect of a changed value on the use of a snapshot taken with the earlier value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// The state does not depend on the key.
    Unaffected,
    /// The snapshot is used and lists are recomputed.
    ListsRecomputed,
    /// A smaller value is like `ListsRecomputed`. A larger one is refused, for this reason. `false` is smaller than `true`,
    /// and null, a section that is off, smaller than anything.
    MustNotGrow(&'static str),
    /// The snapshot is refused, for this reason.
    MustNotChange(&'static str),
}

impl Snapshot {
    /// The reason to refuse a snapshot taken with `then`.
    pub(super) fn refusal(self, then: &Value, now: &Value) -> Option<&'static str> {
        let grows = || match (then, now) {
            (Value::Bool(then), Value::Bool(now)) => now > then,
            (Value::Number(then), Value::Number(now)) => now.as_u64() > then.as_u64(),
            _ => then.is_null() && !now.is_null(),
        };
        match self {
            Snapshot::MustNotGrow(reason) if grows() => Some(reason),
            Snapshot::MustNotChange(reason) if then != now => Some(reason),
            _ => None,
        }
    }
}

/// What the processes of a cluster must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    /// The value, if it has an effect on snapshots: all processes then compute the same.
    WhatIsComputed,
    /// Whether the key is set.
    WhetherSet,
}

/// The generic part of an entry: a `rule` for the value, and the `field` that takes it.
fn key<T: Serialize + 'static>(rule: Rule<T>, field: fn(&mut Config) -> &mut T) -> Key {
    let documented = documented(&rule);
    let json = move |config: &mut Config| serde_json::to_value(field(config)).expect("fields have a form in JSON");
    Key {
        default: to_toml(&json(&mut Config::default()), rule.units),
        read: Box::new(move |reader, section, name, config| {
            if let Some(value) = reader.read(section, name, &rule) {
                *field(config) = value;
            }
        }),
        json: Some(Box::new(json)),
        ..documented
    }
}

/// A key that the `finish` of its section reads: the entry only documents it.
fn documented<T>(rule: &Rule<T>) -> Key {
    Key {
        name: "",
        default: String::new(),
        example: "",
        doc: "",
        more: "",
        secret: false,
        snapshot: Snapshot::Unaffected,
        cluster: Cluster::WhatIsComputed,
        type_name: rule.type_name,
        range: rule.range.clone(),
        read: Box::new(|_, _, _, _| {}),
        json: None,
    }
}

/// All keys of the sections with their dotted names.
pub(super) fn all(sections: &[Section]) -> impl Iterator<Item = (String, &Key)> {
    sections.iter().flat_map(|section| section.keys.iter().map(|key| (format!("{}.{}", section.name, key.name), key)))
}

/// Reads all keys into their fields, then checks the conditions between them.
pub(super) fn read(reader: &mut Reader, config: &mut Config) {
    for section in SECTIONS.iter() {
        for key in &section.keys {
            let known = reader.errors.len();
            (key.read)(reader, section.name, key.name, config);
            if key.secret {
                reader.errors[known..].iter_mut().for_each(ConfigError::hide);
            }
        }
    }
    for section in SECTIONS.iter() {
        (section.finish)(reader, config);
    }
}

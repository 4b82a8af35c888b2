//! Which settings a snapshot and a cluster must agree on, driven by the table of keys.

use serde_json::{Map, Value, json};

use super::Config;
use super::keys::{Cluster, SECTIONS, Section, Snapshot, all};

/// The settings that determine the state and the lists, for the manifest of a snapshot.
pub fn compatibility(config: &Config) -> Map<String, Value> {
    let mut stored = Map::new();
    for section in compared() {
        let is_off = section.is_off.is_some_and(|is_off| is_off(config));
        let value = match section.stored {
            _ if is_off => Value::Null,
            Some(value) => value(config),
            None => values(section, config).into(),
        };
        match value {
            Value::Object(values) if section.name == "graph" => stored.extend(values),
            value => drop(stored.insert(stored_name(section).into(), value)),
        }
    }
    stored
}

/// Compares the settings of a snapshot, `then`, with those of this run, `now`.
///
/// Returns notes about changes that recompute lists, or, if the snapshot cannot be used, a reason for each setting that
/// forbids it. A setting that the snapshot lacks is newer than the snapshot, which does not depend on it.
pub fn check_compatibility(then: &Map<String, Value>, now: &Map<String, Value>) -> Result<Vec<String>, Vec<String>> {
    let (mut notes, mut mistakes) = (Vec::new(), Vec::new());
    let mut check = |name: String, then: &Value, now: &Value, refusal: Option<&str>| match refusal {
        _ if then == now => {}
        Some(reason) => mistakes.push(format!("{name} was {then} and is {now}: {reason}")),
        None => notes.push(format!("{name} was {then} when the snapshot was taken and is {now}: lists are recomputed")),
    };
    for section in compared() {
        if section.name == "graph" {
            for key in &section.keys {
                let (Some(then), Some(now)) = (then.get(key.name), now.get(key.name)) else { continue };
                check(format!("graph.{}", key.name), then, now, key.snapshot.refusal(then, now));
            }
            continue;
        }
        let Some(now) = now.get(stored_name(section)) else { continue };
        // Snapshots from before a section that can be off existed have nothing for it.
        let off = section.is_off.map(|_| &Value::Null);
        let Some(then) = then.get(stored_name(section)).or(off) else { continue };
        let of_keys = || {
            let keys = section.keys.iter().filter(|_| !now.is_null());
            keys.into_iter().find_map(|key| key.snapshot.refusal(&then[key.name], &now[key.name]))
        };
        check(format!("[{}]", section.name), then, now, section.snapshot.refusal(then, now).or_else(of_keys));
    }
    if mistakes.is_empty() { Ok(notes) } else { Err(mistakes) }
}

/// The settings that all processes of a cluster must have in common, as a text to compare.
pub fn cluster_fingerprint(config: &Config) -> String {
    let mut config = config.clone();
    let mut is_set = |json: &super::keys::Json| !json(&mut config).is_null();
    let set: Map<String, Value> = all(&SECTIONS)
        .filter(|(_, key)| key.cluster == Cluster::WhetherSet)
        .filter_map(|(name, key)| Some((name, is_set(key.json.as_ref()?).into())))
        .collect();
    json!({ "computed": compatibility(&config), "set": set }).to_string()
}

/// The sections with an effect on snapshots.
fn compared() -> impl Iterator<Item = &'static Section> {
    let has_effect = |snapshot: Snapshot| snapshot != Snapshot::Unaffected;
    SECTIONS
        .iter()
        .filter(move |section| has_effect(section.snapshot) || section.keys.iter().any(|key| has_effect(key.snapshot)))
}

/// The name of a section in a manifest: without the `graph.` of what is computed.
fn stored_name(section: &Section) -> &'static str {
    section.name.strip_prefix("graph.").unwrap_or(section.name)
}

/// The values of a section's keys that have an effect on snapshots.
fn values(section: &Section, config: &Config) -> Map<String, Value> {
    let mut config = config.clone();
    let keys = section.keys.iter().filter(|key| key.snapshot != Snapshot::Unaffected);
    keys.filter_map(|key| Some((key.name.to_owned(), key.json.as_ref()?(&mut config)))).collect()
}

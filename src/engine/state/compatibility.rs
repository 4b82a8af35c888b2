//! The settings that a snapshot and the run that resumes from it must agree on: those of the configuration, compared by its
//! table of keys, and the options for reading records.

use anyhow::anyhow;
use connectors::InputUri;
use schema::IdKey;
use serde_json::{Map, Value};
use snapshots::{InputPosition, Manifest};

use crate::config::{self, Config};

/// The settings that a snapshot depends on: those of the configuration, the options for reading records, and the fingerprint
/// of the identity key, if there is one.
pub(super) fn settings(config: &Config, records: &Value, ids: IdKey) -> Map<String, Value> {
    let mut settings = config::compatibility(config);
    settings.insert("records".into(), records.clone());
    if let Some(fingerprint) = ids.fingerprint() {
        settings.insert(Manifest::ID_KEY.into(), fingerprint.to_string().into());
    }
    settings
}

/// Why a snapshot was taken with another identity key. One without a fingerprint was taken without a key.
fn other_key(then: &Map<String, Value>, now: &Map<String, Value>) -> Option<String> {
    let key = |settings: &Map<String, Value>| settings.get(Manifest::ID_KEY).and_then(Value::as_str).map(str::to_owned);
    let what = match (key(then), key(now)) {
        (then, now) if then == now => return None,
        (Some(then), Some(now)) => format!("its key has the fingerprint {then}, this run's key {now}"),
        (Some(then), None) => format!("it was taken with a key (fingerprint {then}), this run has none"),
        (None, Some(now)) => format!("it was taken without a key, this run has one (fingerprint {now})"),
        (None, None) => return None,
    };
    Some(format!("identity.key: {what}: all ids in it are others"))
}

/// Checks whether a run with the settings `now` can resume from a snapshot taken with the settings `then`. A snapshot has
/// graded interactions that counted, so dropped events and other grades cannot be recovered from it.
pub(super) fn check(then: &Map<String, Value>, now: &Map<String, Value>) -> anyhow::Result<()> {
    let (notes, mut mistakes) = match config::check_compatibility(then, now) {
        Ok(notes) => (notes, Vec::new()),
        Err(mistakes) => (Vec::new(), mistakes),
    };
    let records = |settings: &Map<String, Value>| {
        let mut records = settings.get("records")?.clone();
        // Each input is compared with its own options, when it is found: it may have another name now.
        records.as_object_mut().map(|records| records.remove(INPUTS));
        Some(records)
    };
    if let (Some(then), Some(now)) = (records(then), records(now))
        && then != now
    {
        mistakes.push(format!(
            "the way records are read (--columns, --action, --where) was {then} and is {now}: {READ_OTHERWISE}"
        ));
    }
    mistakes.extend(other_key(then, now));
    if mistakes.is_empty() {
        for note in notes {
            tracing::info!("{note}");
        }
        return Ok(());
    }
    Err(unfit(&mistakes))
}

/// The inputs of a snapshot with their own options, in the order of their positions. They are stored only if one of
/// them has options.
pub(super) fn inputs(manifest: &Manifest) -> impl Iterator<Item = String> {
    let stored = manifest.compatibility.get("records").map_or(&Value::Null, |records| &records[INPUTS]);
    let of = |(at, input): (usize, &InputPosition)| match &stored[at] {
        Value::String(input) => input.clone(),
        // In an input with options each `?` of the path is doubled.
        _ => input.name.replace('?', "??"),
    };
    manifest.inputs.iter().enumerate().map(of)
}

/// The error for an input that was read with other options before.
pub(super) fn read_otherwise(name: &str, then: &str, now: &InputUri) -> anyhow::Error {
    unfit(&[format!("the way the records of {name} are read was `{then}` and is `{now}`: {READ_OTHERWISE}")])
}

fn unfit(mistakes: &[String]) -> anyhow::Error {
    anyhow!(
        "the snapshot does not fit this configuration:\n  {}\nset these back, or add --rebuild to reread the inputs \
         from their start",
        mistakes.join("\n  ")
    )
}

/// The inputs among the options for reading records, each with its own options.
const INPUTS: &str = "inputs";

const READ_OTHERWISE: &str = "its records were read as other events, or others were left out";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(sets: &[&str]) -> Map<String, Value> {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        settings(&Config::load(None, &sets).unwrap(), &json!({ "columns": "user=u" }), IdKey::default())
    }

    #[test]
    fn rejects_settings_that_need_dropped_events() {
        let then = with(&[]);
        for fine in [
            "graph.k=3",
            "graph.history=49",
            "graph.retention=29d",
            "graph.audience=all",
            "graph.skipped=59m",
            "graph.near=0ms",
            "graph.basket=0ms",
            "graph.stairs=[1]",
            "graph.user_resolution=4",
            "graph.similarity=llr",
        ] {
            check(&then, &with(&[fine])).unwrap();
        }
        for wrong in [
            "graph.history=101",
            "graph.retention=31d",
            "graph.skipped=61m",
            "levels.view=2",
            "levels.bid=5",
            "levels.watch=[]",
            "retractions.unlike={of=\"like\",leaves=0}",
            "retractions.hide={of=\"*\",leaves=0}",
            "input.skip=0s",
        ] {
            let error = check(&then, &with(&[wrong])).unwrap_err().to_string();
            assert!(error.contains("--rebuild"), "{wrong}: {error}");
        }
        // Snapshots from before there were retractions and skips have none of them.
        let mut older = then.clone();
        for newer in ["skipped", "retractions", "input"] {
            assert!(older.remove(newer).is_some(), "{newer}");
        }
        check(&older, &with(&["retractions.hide={of=\"*\",leaves=0}", "input.skip=1s", "graph.skipped=1d"])).unwrap();
        let other = settings(&Config::load(None, &[]).unwrap(), &json!({ "columns": "user=v" }), IdKey::default());
        assert!(check(&then, &other).unwrap_err().to_string().contains("--columns"));
        // A snapshot from before there was such a key.
        check(&Map::new(), &other).unwrap();
        let trends = with(&["trending.k=5"]);
        for fine in [&["trending.k=9"][..], &["trending.k=5", "trending.buckets=3", "trending.rooms=no"], &[]] {
            check(&trends, &with(fine)).unwrap();
        }
        for wrong in ["trending.bucket=2m", "trending.buckets=9"] {
            check(&trends, &with(&["trending.k=5", wrong])).unwrap_err();
        }
        let silent = with(&["trending.k=5", "trending.rooms=no"]);
        for then in [&silent, &then, &Map::new()] {
            assert!(check(then, &trends).unwrap_err().to_string().contains("[trending] was"));
        }
        let keyed =
            |secret: &[u8]| settings(&Config::default(), &json!({ "columns": "user=u" }), IdKey::new(secret).unwrap());
        let (one, other) = (keyed(b"0123456789abcdef"), keyed(b"another 01234567"));
        check(&one, &one).unwrap();
        for (then, now, what) in [
            (&one, &other, "this run's key"),
            (&one, &then, "this run has none"),
            (&then, &one, "it was taken without a key"),
            (&Map::new(), &one, "it was taken without a key"),
        ] {
            let error = check(then, now).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("--rebuild"), "{error}");
            assert!(!error.contains("0123456789abcdef"), "{error}");
        }
        let both = check(&then, &with(&["graph.history=200", "graph.retention=60d"])).unwrap_err().to_string();
        assert!(both.contains("graph.history was 100 and is 200") && both.contains("graph.retention"), "{both}");
    }
}

//! The settings that a snapshot and the run that resumes from it must agree on, and what a difference means.

use std::fmt::Write as _;

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use crate::config::{Audience, Config, Trending};

/// The settings that determine which events are held and what is computed from them. They are stored in manifests.
pub(super) fn settings(config: &Config, records: &Value) -> Map<String, Value> {
    let graph = &config.graph;
    let audience = match graph.audience {
        Audience::All => json!("all"),
        Audience::Within(ms) => json!(ms),
    };
    let settings = json!({
        "levels": config.levels,
        "history": graph.history,
        "retention": graph.retention,
        "audience": audience,
        "neighbours": graph.neighbours,
        "k": graph.k,
        "similarity": graph.similarity.name(),
        "min_cooccurrence": graph.min_cooccurrence,
        "shrink": graph.shrink,
        "stairs": graph.stairs,
        "resolution": graph.resolution,
        "sample": graph.sample,
        "similar_users": graph.similar_users,
        "sources": { "items": graph.sources.items, "users": graph.sources.users },
        "trending": trending(&config.trending),
        "records": records,
    });
    let Value::Object(settings) = settings else { unreachable!("an object was written above") };
    settings
}

/// The settings of trending lists: null where they are off.
fn trending(trending: &Trending) -> Value {
    let Trending { k, bucket, buckets, rooms } = *trending;
    if k == 0 { Value::Null } else { json!({ "k": k, "bucket": bucket, "buckets": buckets, "rooms": rooms }) }
}

/// What must be equal in all processes of a cluster: the graph, and whether it takes snapshots.
pub(crate) fn cluster_fingerprint(config: &Config) -> String {
    json!({ "compatibility": settings(config, &Value::Null), "saves": !config.state.uri.is_empty() }).to_string()
}

/// Checks whether a run with settings `now` can resume from a snapshot taken with settings `then`. A snapshot holds levels,
/// not actions, and only the events that counted: what was dropped then cannot count now.
pub(super) fn check(then: &Map<String, Value>, now: &Map<String, Value>) -> anyhow::Result<()> {
    let mut mismatches = String::new();
    for (key, now) in now {
        // A snapshot from before the key existed has no trending lists.
        let then = then.get(key).or_else(|| (key == "trending").then_some(&Value::Null));
        let Some(then) = then.filter(|then| *then != now) else { continue };
        let grows = || now.as_u64() > then.as_u64();
        let name = match key.as_str() {
            "levels" | "trending" => format!("[{key}]"),
            "records" => "the way records are read (--columns, --action, --where)".to_owned(),
            _ => format!("graph.{key}"),
        };
        let reason = match key.as_str() {
            "levels" => "the events in it were judged by the old levels",
            "records" => "its records were read as other events, or others were left out",
            "history" if grows() => "items beyond the shorter history were dropped",
            "retention" if grows() => "events beyond the shorter retention were dropped",
            "trending" if !keeps_trending_events(then, now) => "the events that this needs were dropped",
            _ => {
                tracing::info!("{name} was {then} when the snapshot was taken and is {now}: lists are recomputed");
                continue;
            }
        };
        write!(mismatches, "\n  {name} was {then} and is {now}: {reason}").expect("writing to a string does not fail");
    }
    if mismatches.is_empty() {
        return Ok(());
    }
    Err(anyhow!(
        "the snapshot does not fit this configuration:{mismatches}\nset these back, or add --rebuild to reread the inputs \
         from their start"
    ))
}

/// Whether a snapshot taken with trending settings `then` has all events that trending lists need `now`.
fn keeps_trending_events(then: &Value, now: &Value) -> bool {
    let has_buckets = now["bucket"] == then["bucket"] && now["buckets"].as_u64() <= then["buckets"].as_u64();
    let has_rooms = now["rooms"] == false || then["rooms"] == true;
    now.is_null() || (has_buckets && has_rooms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sets: &[&str]) -> Map<String, Value> {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        settings(&Config::load(None, &sets).unwrap(), &json!({ "columns": "user=u" }))
    }

    #[test]
    fn rejects_settings_that_need_dropped_events() {
        let then = with(&[]);
        for fine in [
            "graph.k=3",
            "graph.history=49",
            "graph.retention=29d",
            "graph.audience=all",
            "graph.stairs=[1]",
            "graph.similarity=llr",
        ] {
            check(&then, &with(&[fine])).unwrap();
        }
        for wrong in ["graph.history=51", "graph.retention=31d", "levels.view=2", "levels.bid=5", "levels.watch=[]"] {
            let error = check(&then, &with(&[wrong])).unwrap_err().to_string();
            assert!(error.contains("--rebuild"), "{wrong}: {error}");
        }
        let other = settings(&Config::load(None, &[]).unwrap(), &json!({ "columns": "user=v" }));
        assert!(check(&then, &other).unwrap_err().to_string().contains("--columns"));
        // A snapshot from before any key existed.
        check(&Map::new(), &other).unwrap();
        let trending = with(&["trending.k=5"]);
        for fine in [&["trending.k=9"][..], &["trending.k=5", "trending.buckets=3", "trending.rooms=no"], &[]] {
            check(&trending, &with(fine)).unwrap();
        }
        for wrong in ["trending.bucket=2m", "trending.buckets=9"] {
            check(&trending, &with(&["trending.k=5", wrong])).unwrap_err();
        }
        let without_rooms = with(&["trending.k=5", "trending.rooms=no"]);
        for then in [&without_rooms, &then, &Map::new()] {
            assert!(check(then, &trending).unwrap_err().to_string().contains("[trending] was"));
        }
        let both = check(&then, &with(&["graph.history=60", "graph.retention=60d"])).unwrap_err().to_string();
        assert!(both.contains("graph.history was 50 and is 60") && both.contains("graph.retention"), "{both}");
    }
}

mod docs;
mod mistakes;
mod overrides;

use std::path::Path;

use connectors::{KafkaOptions, Security};
use dataflows::config::Measure;
use schema::Levels;

use super::*;

/// Loads `text` as a user's file, with `sets` over it.
fn load(text: &str, sets: &[&str]) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), &sets.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// The keys that the embedded file gives a value, dotted, as the parser sees them.
fn default_keys() -> Vec<(String, String)> {
    fn collect(section: &str, table: &toml::Table, keys: &mut Vec<(String, String)>) {
        for (name, value) in table {
            let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            match value {
                toml::Value::Table(inner) => collect(&key, inner, keys),
                value => keys.push((key, value.to_string())),
            }
        }
    }
    let mut keys = Vec::new();
    collect("", &DEFAULTS.parse().unwrap(), &mut keys);
    keys
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let Config { graph, levels, input, trending, state, kafka } = Config::default();
    assert_eq!(graph.history, 50);
    assert_eq!(graph.neighbours, 30);
    assert_eq!(graph.k, 10);
    assert_eq!(graph.retention, 30 * 24 * 3_600_000);
    assert_eq!(graph.audience, Audience::Within(30 * 60_000));
    assert_eq!(graph.similarity, Measure::Cosine);
    assert_eq!(graph.min_cooccurrence, 1);
    assert_eq!(graph.shrink, 20);
    assert_eq!(graph.stairs, [2, 4, 8, 16]);
    assert_eq!(graph.resolution, 4);
    assert_eq!((graph.sample, graph.similar_users), (100, 30));
    assert_eq!((graph.sources.items, graph.sources.users), (4, 1));
    assert_eq!(levels, Levels::default());
    assert_eq!(input.batch, 10_000);
    assert_eq!(input.max_skew, 5_000);
    assert_eq!(input.max_record, 1_048_576);
    assert_eq!(
        kafka,
        KafkaOptions {
            security: Security { protocol: "plaintext".into(), ..Security::default() },
            ..KafkaOptions::default()
        }
    );
    assert_eq!(trending, Trending { k: 0, bucket: 60_000, buckets: 8, rooms: true });
    assert_eq!(state, State { uri: String::new(), interval: 60_000, keep: 3, codec: "parquet".into() });
}

#[test]
fn no_layer_over_the_defaults_changes_nothing() {
    assert_eq!(Config::load(None, &[]), Ok(Config::default()));
    assert_eq!(load("", &[]), Ok(Config::default()));
    assert_eq!(load("# only a remark\n[graph]\n[graph.sources]\n", &[]), Ok(Config::default()));
    assert_eq!(load(DEFAULTS, &[]), Ok(Config::default()), "the file itself is a valid file of a user's");
}

#[test]
fn the_embedded_file_is_the_one_in_the_root() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deltarec.toml");
    assert_eq!(Config::load(Some(&root), &[]), Ok(Config::default()));
}

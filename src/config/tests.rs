mod docs;
mod fuzz;
mod mistakes;
mod overrides;

use std::path::Path;

use connectors::KafkaOptions;
use dataflows::config::{Measure, Trending};
use schema::Levels;

use super::keys::{SECTIONS, Snapshot};
use super::*;

/// Loads `text` as a user's file, with `sets` over it.
fn load(text: &str, sets: &[&str]) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), &sets.iter().map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn has_the_documented_defaults() {
    let Config { graph, levels, input, catalogue, state, identity_key, kafka } = Config::default();
    assert_eq!(graph.history, 100);
    assert_eq!(graph.neighbours, 30);
    assert_eq!(graph.k, 10);
    assert_eq!(graph.retention, 30 * 24 * 3_600_000);
    assert_eq!(graph.audience, Audience::Within(30 * 60_000));
    assert_eq!((graph.skipped, levels.skip), (3_600_000, 3_000));
    assert_eq!(graph.similarity, Measure::Cosine);
    assert_eq!(graph.min_cooccurrence, 1);
    assert_eq!(graph.shrink, 20);
    assert_eq!((graph.near, graph.basket), (60_000, 1_000));
    assert_eq!(graph.stairs, [1, 2, 4, 24]);
    assert_eq!((graph.resolution, graph.user_resolution), (4, 2));
    assert_eq!((graph.sample, graph.similar_users), (50, 50));
    assert_eq!((graph.sources.items, graph.sources.users), (2, 1));
    assert_eq!(graph, Graph::default(), "the library and the program have the same defaults");
    assert_eq!(levels, Levels::default());
    assert_eq!(input, Input { batch: 10_000, max_skew: 5_000, max_jump: None, max_record: 1_048_576, rooms: false });
    let tag_groups = ["default", "merchant", "visual"].map(str::to_owned).into();
    assert_eq!(catalogue, Catalogue { unknown: Unknown::Ineligible, max_items: 5_000_000, tag_groups });
    assert_eq!(kafka, KafkaOptions::default());
    assert_eq!((graph.trending, identity_key), (None, None));
    assert_eq!(state, State { uri: None, interval: 60_000, keep: 3, codec: "parquet".into() });
    let Config { graph, input, .. } = load("trending.k = 5", &[]).unwrap();
    let trending = Trending { k: 5, bucket: 60_000, buckets: 8 };
    assert_eq!((graph.trending, input.rooms), (Some(trending), true));
}

#[test]
fn an_empty_layer_changes_nothing() {
    assert_eq!(Config::load(None, &[]), Ok(Config::default()));
    assert_eq!(load("", &[]), Ok(Config::default()));
    assert_eq!(load("# only a remark\n[graph]\n[graph.sources]\n", &[]), Ok(Config::default()));
    assert_eq!(load(&DEFAULTS, &[]), Ok(Config::default()), "the defaults are a valid file");
}

#[test]
fn every_key_that_determines_the_state_says_what_a_change_means() {
    for section in SECTIONS.iter().filter(|section| section.name.starts_with("graph") || section.name == "trending") {
        for key in &section.keys {
            assert_ne!(key.snapshot, Snapshot::Unaffected, "{}.{}", section.name, key.name);
        }
    }
}

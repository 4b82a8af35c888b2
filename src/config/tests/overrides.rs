//! Every key can be set by a file and by `--set`, and changes its own field only.

use connectors::Delivery;
use dataflows::config::{Emit, Measure};

use super::*;

type Change = fn(&mut Config);

/// A key, a value other than its default, and the change of the configuration.
const CHANGES: [(&str, &str, Change); 57] = [
    ("graph.history", "1000", |c| c.graph.history = 1_000),
    ("graph.neighbours", "1", |c| c.graph.neighbours = 1),
    ("graph.k", "1000", |c| c.graph.k = 1_000),
    ("graph.retention", "\"3650d\"", |c| c.graph.retention = 315_360_000_000),
    ("graph.skipped", "\"30d\"", |c| c.graph.skipped = 2_592_000_000),
    ("graph.audience", "\"30d\"", |c| c.graph.audience = Audience::Within(2_592_000_000)),
    ("graph.refresh", "\"0ms\"", |c| c.graph.refresh = 0),
    ("graph.emit", "\"membership\"", |c| c.graph.emit = Emit::Membership),
    ("graph.why", "1000", |c| c.graph.why = 1_000),
    ("graph.diversity", "100", |c| c.graph.diversity = 100),
    ("graph.caps_strict", "true", |c| c.graph.caps.strict = true),
    ("graph.similarity", "\"llr\"", |c| c.graph.similarity = Measure::Llr),
    ("graph.min_cooccurrence", "4294967295", |c| c.graph.min_cooccurrence = u32::MAX),
    ("graph.shrink", "0", |c| c.graph.shrink = 0),
    ("graph.near", "\"0ms\"", |c| c.graph.near = 0),
    ("graph.basket", "\"5m\"", |c| c.graph.basket = 300_000),
    ("graph.stairs", "[1, 10_000]", |c| c.graph.stairs = vec![1, 10_000]),
    ("graph.resolution", "16", |c| c.graph.resolution = 16),
    ("graph.sample", "1", |c| c.graph.sample = 1),
    ("graph.similar_users", "1000", |c| c.graph.similar_users = 1_000),
    ("graph.user_resolution", "16", |c| c.graph.user_resolution = 16),
    ("graph.sources.items", "0", |c| c.graph.sources.items = 0),
    ("graph.sources.users", "1_000_000", |c| c.graph.sources.users = 1_000_000),
    ("graph.caps.category", "1000", |c| c.graph.caps.category = 1_000),
    ("graph.caps.host", "1", |c| c.graph.caps.host = 1),
    ("input.batch", "1", |c| c.input.batch = 1),
    ("input.max_skew", "\"0s\"", |c| c.input.max_skew = 0),
    ("input.max_record", "\"64KiB\"", |c| c.input.max_record = 65_536),
    ("input.skip", "\"0s\"", |c| c.levels.skip = 0),
    ("kafka.delivery", "\"idempotent\"", |c| c.kafka.delivery = Delivery::Idempotent),
    ("kafka.group", "\"shop\"", |c| c.kafka.group = "shop".into()),
    ("kafka.create", "false", |c| c.kafka.create = false),
    ("kafka.partitions", "64", |c| c.kafka.partitions = 64),
    ("kafka.replication", "3", |c| c.kafka.replication = Some(3)),
    ("kafka.compression", "\"zstd\"", |c| c.kafka.compression = "zstd".into()),
    ("kafka.linger", "\"5ms\"", |c| c.kafka.linger = 5),
    ("kafka.buffer", "\"1MiB\"", |c| c.kafka.buffer = 1 << 20),
    ("kafka.refresh", "\"1m\"", |c| c.kafka.refresh = 60_000),
    ("kafka.security.protocol", "\"ssl\"", |c| c.kafka.security.protocol = "ssl".into()),
    ("kafka.security.mechanism", "\"PLAIN\"", |c| c.kafka.security.mechanism = Some("PLAIN".into())),
    ("kafka.security.username", "\"ann\"", |c| c.kafka.security.username = Some("ann".into())),
    ("kafka.security.password", "\"env:PASSWORD\"", |c| c.kafka.security.password = "env:PASSWORD".parse().ok()),
    ("kafka.security.ca", "\"ca.pem\"", |c| c.kafka.security.ca = Some("ca.pem".into())),
    ("kafka.security.certificate", "\"us.pem\"", |c| c.kafka.security.certificate = Some("us.pem".into())),
    ("kafka.security.key", "\"us.key\"", |c| c.kafka.security.key = Some("us.key".into())),
    ("kafka.security.key_password", "\"file:pass\"", |c| c.kafka.security.key_password = "file:pass".parse().ok()),
    ("catalogue.unknown", "\"eligible\"", |c| c.catalogue.unknown = Unknown::Eligible),
    ("catalogue.max_items", "1", |c| c.catalogue.max_items = 1),
    ("catalogue.tag_groups", "[\"a\"]", |c| c.catalogue.tag_groups = vec!["a".into()]),
    ("trending.k", "1000", |c| trending(c).k = 1_000),
    ("trending.bucket", "\"30s\"", |c| trending(c).bucket = 30_000),
    ("trending.buckets", "1", |c| trending(c).buckets = 1),
    ("trending.rooms", "false", |c| c.input.rooms = false),
    ("state.uri", "\"s3://bucket/shop\"", |c| c.state.uri = Some("s3://bucket/shop".into())),
    ("state.interval", "\"5m\"", |c| c.state.interval = 300_000),
    ("state.keep", "1000", |c| c.state.keep = 1_000),
    ("state.codec", "\"records\"", |c| c.state.codec = "records".into()),
];

/// A key of `[levels]`, a value that gives every event its own level, and an event with that level.
const LEVELS: [(&str, &str, &str); 10] = [
    ("levels.view", "15", "view"),
    ("levels.click", "15", "click"),
    ("levels.like", "15", "like"),
    ("levels.comment", "15", "comment"),
    ("levels.share", "15", "share"),
    ("levels.follow", "15", "follow"),
    ("levels.favourite", "15", "favourite"),
    ("levels.cart", "15", "cart"),
    ("levels.purchase", "15", "purchase"),
    ("levels.watch", "[[\"0s\", 15]]", "watch"),
];

/// The parameters of trending, which the trials switch on.
fn trending(config: &mut Config) -> &mut dataflows::config::Trending {
    config.graph.trending.as_mut().unwrap()
}

/// A setting that shows the effect of `key`.
fn context(key: &str) -> &'static str {
    if key.starts_with("trending.") && key != "trending.k" { "trending.k=5" } else { "trending.k=1" }
}

#[test]
fn every_key_can_be_set_and_changes_its_own_field() {
    for (key, value, change) in CHANGES {
        let default = load("", &[context(key)]).unwrap();
        let mut expected = default.clone();
        change(&mut expected);
        assert_ne!(expected, default, "{key}: the trial is the default");
        let (file, set) = (format!("{key} = {value}"), format!("{key}={value}"));
        let by_file = if key == "trending.k" { load(&file, &[]) } else { load(&file, &[context(key)]) };
        assert_eq!(by_file.as_ref(), Ok(&expected), "{key} by a file");
        assert_eq!(load("", &[context(key), &set]).as_ref(), Ok(&expected), "{key} by --set");
    }
}

/// Values of every type. Each key takes one of them that differs from its default.
const VALUES: [&str; 17] = [
    "1",
    "[\"a\"]",
    "2",
    "true",
    "false",
    "\"1m\"",
    "\"2m\"",
    "\"60d\"",
    "\"2MiB\"",
    "[1]",
    "[[\"0s\", 15]]",
    "{of = \"*\", leaves = 3}",
    "\"x\"",
    "\"env:X\"",
    "\"ssl\"",
    "\"none\"",
    "\"PLAIN\"",
];

#[test]
fn every_key_of_the_table_has_its_own_effect() {
    let default = load("", &["trending.k=5"]).unwrap();
    let mut seen: Vec<(String, Config)> = Vec::new();
    for (key, entry) in keys::all(&SECTIONS) {
        let words = entry.range.split(", ").map(|word| word.trim_matches('`').to_owned());
        let config = VALUES
            .iter()
            .map(ToString::to_string)
            .chain(words)
            .filter_map(|value| {
                load(&format!("{key} = {value}"), if key == "trending.k" { &[] } else { &["trending.k=5"] }).ok()
            })
            .find(|config| *config != default)
            .unwrap_or_else(|| panic!("{key} takes none of the values"));
        let same = seen.iter().find(|(_, other)| *other == config).map(|(other, _)| other);
        assert_eq!(same, None, "{key} has the effect of another key");
        seen.push((key, config));
    }
}

#[test]
fn every_level_can_be_set() {
    for (key, value, action) in LEVELS {
        let effect = |config: Config| config.levels.effect(action, Some(0));
        assert_ne!(effect(Config::default()), Ok(schema::Effect::Counts(15)));
        for config in [load(&format!("{key} = {value}"), &[]), load("", &[&format!("{key}={value}")])] {
            assert_eq!(effect(config.unwrap()), Ok(schema::Effect::Counts(15)), "{key}");
        }
    }
}

/// The keys of `[retractions]`.
const RETRACTIONS: [&str; 6] = [
    "retractions.unlike",
    "retractions.unfollow",
    "retractions.remove_from_cart",
    "retractions.return",
    "retractions.cancel",
    "retractions.dislike",
];

#[test]
fn every_retraction_can_be_replaced() {
    for key in RETRACTIONS {
        let action = key.strip_prefix("retractions.").unwrap();
        let (file, set) = (format!("{key} = {{of = \"*\", leaves = 14}}"), format!("{key}={{leaves=14,of=\"*\"}}"));
        let table = format!("[{key}]\nof = \"*\"\nleaves = 14\n");
        for config in [load(&file, &[]), load(&table, &[]), load("", &[&set])] {
            let retracts = Ok(schema::Effect::Retracts { of: 15, leaves: 14 });
            assert_eq!(config.unwrap().levels.effect(action, None), retracts, "{key}");
        }
    }
}

#[test]
fn adds_a_retraction_and_keeps_the_others() {
    let text =
        "[retractions]\nuncollect = {of = \"favourite\", leaves = 0}\n\"hide.it\" = {of = \"bid\", leaves = 8}\n";
    let config = load(text, &["retractions.stop={of=\"watch\",leaves=2}", "levels.bid=9"]).unwrap();
    let retracts = |action, of, leaves| {
        assert_eq!(config.levels.effect(action, None), Ok(schema::Effect::Retracts { of, leaves }), "{action}");
    };
    retracts("uncollect", 4, 0);
    retracts("hide.it", 9, 8);
    retracts("stop", 3, 2);
    retracts("unlike", 3, 1);
    let later = load(text, &["retractions.uncollect={of=\"cart\",leaves=1}", "levels.bid=9"]).unwrap();
    assert_eq!(later.levels.effect("uncollect", None), Ok(schema::Effect::Retracts { of: 5, leaves: 1 }));
}

#[test]
fn the_defaults_of_retractions_follow_the_levels_of_the_user() {
    let config = load("[levels]\nlike = 1\ncart = 2\npurchase = 15\nreturn = 7\n", &[]).unwrap();
    let effect = |action| config.levels.effect(action, None).unwrap();
    assert_eq!(effect("unlike"), schema::Effect::Retracts { of: 1, leaves: 0 }, "what is left is below the level");
    assert_eq!(effect("remove_from_cart"), schema::Effect::Retracts { of: 2, leaves: 1 });
    assert_eq!(effect("cancel"), schema::Effect::Retracts { of: 15, leaves: 1 });
    assert_eq!(effect("return"), schema::Effect::Counts(7), "a level of the user goes before a default");
    assert_eq!(load("", &["levels.unlike=1"]).unwrap().levels.effect("unlike", None), Ok(schema::Effect::Counts(1)));
}

#[test]
fn skips_end_with_the_retention_unless_their_time_is_set() {
    let skipped = |sets: &[&str]| load("graph.audience = \"1m\"", sets).unwrap().graph.skipped;
    assert_eq!(skipped(&[]), 3_600_000);
    assert_eq!(skipped(&["graph.retention=59m"]), 59 * 60_000);
    assert_eq!(skipped(&["graph.retention=59m", "graph.skipped=59m"]), 59 * 60_000);
}

#[test]
fn every_trial_is_of_a_key() {
    let tried = CHANGES.iter().map(|trial| trial.0).chain(LEVELS.iter().map(|trial| trial.0)).chain(RETRACTIONS);
    let mut tried: Vec<&str> = tried.collect();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), CHANGES.len() + LEVELS.len() + RETRACTIONS.len());
    for key in tried {
        assert!(keys::all(&SECTIONS).any(|(known, _)| known == key), "{key}");
    }
}

#[test]
fn old_spellings_of_booleans_are_understood_with_a_warning() {
    let warnings = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let (config, warnings) = read(None, &sets);
        (config.unwrap(), warnings)
    };
    let (config, warned) =
        warnings(&["kafka.create=no", "trending.k=5", "trending.rooms=yes", "trending.rooms=\"no\""]);
    assert!(!config.kafka.create && !config.input.rooms);
    assert_eq!(
        warned,
        [
            "--set trending.rooms=yes: trending.rooms = \"yes\" is an old spelling: write trending.rooms = true",
            "--set kafka.create=no: kafka.create = \"no\" is an old spelling: write kafka.create = false",
        ],
        "one warning per key"
    );
    let (config, warned) = warnings(&["kafka.create=false", "trending.k=5", "trending.rooms=true"]);
    assert!(!config.kafka.create && config.input.rooms);
    assert_eq!(warned, [""; 0]);
}

#[test]
fn an_empty_text_or_zero_unsets_a_value() {
    let text = "state.uri = \"s\"\ntrending.k = 5\n[kafka]\nreplication = 3\n[kafka.security]\nca = \"c\"\npassword = \"env:P\"\n";
    assert_ne!(load(text, &[]), Ok(Config::default()));
    let unset =
        ["state.uri=\"\"", "trending.k=0", "kafka.replication=0", "kafka.security={ca=\"\", password=\"\", key=\"\"}"];
    assert_eq!(load(text, &unset), Ok(Config::default()));
}

#[test]
fn a_later_layer_wins() {
    let text = "[graph]\nk = 20\nhistory = 60\n";
    let config = load(text, &["graph.k=30", "graph.k=40"]).unwrap();
    assert_eq!((config.graph.k, config.graph.history, config.graph.neighbours), (40, 60, 30));
    assert_eq!(load(text, &[]).unwrap().graph.k, 20);
}

#[test]
fn reads_a_word_of_the_command_line_without_quotes() {
    let config = load("", &["graph.audience=all", "graph.retention=12h", "input.max_record = 2MiB"]).unwrap();
    assert_eq!(config.graph.audience, Audience::All);
    assert_eq!(config.graph.retention, 12 * 3_600_000);
    assert_eq!(config.input.max_record, 2 << 20);
    assert_eq!(load("", &["graph.audience=\"all\""]).unwrap().graph.audience, Audience::All);
}

#[test]
fn reads_arrays_and_tables_of_the_command_line_as_toml() {
    let config = load("", &["graph.stairs=[1,2,4]", "graph={k=7, sources={items=9}}"]).unwrap();
    assert_eq!(config.graph.stairs, [1, 2, 4]);
    assert_eq!((config.graph.k, config.graph.sources.items, config.graph.history), (7, 9, 100));
}

#[test]
fn accepts_other_spellings_of_toml() {
    let config = load("\u{feff}graph = { k = 0x10 }\r\n[input]\r\nbatch = 1_000\r\n", &[]).unwrap();
    assert_eq!((config.graph.k, config.input.batch), (16, 1_000));
}

#[test]
fn adds_an_action_and_keeps_the_others() {
    let config = load("[levels]\nview = 2\nbid = 5\n\"add to.cart\" = 6\n", &["levels.\"a=b\"=7"]).unwrap();
    let level = |action| config.levels.effect(action, None);
    assert_eq!(level("view"), Ok(schema::Effect::Counts(2)));
    assert_eq!(level("bid"), Ok(schema::Effect::Counts(5)));
    assert_eq!(level("add to.cart"), Ok(schema::Effect::Counts(6)));
    assert_eq!(level("a=b"), Ok(schema::Effect::Counts(7)));
    assert_eq!(level("purchase"), Ok(schema::Effect::Counts(6)));
}

#[test]
fn watch_can_be_replaced_and_switched_off() {
    let config = load("levels.watch = [[\"1s\", 9]]", &[]).unwrap();
    assert_eq!(config.levels.effect("watch", Some(999)), Ok(schema::Effect::Skips));
    assert_eq!(config.levels.effect("watch", Some(1_000)), Ok(schema::Effect::Counts(9)));
    let config = load("", &["levels.watch=[]"]).unwrap();
    assert!(config.levels.effect("watch", Some(1_000)).is_err());
}

//! `[trending]`: lists for users without a history.

use dataflows::config::Trending;

use super::Snapshot::{ListsRecomputed, MustNotChange, MustNotGrow};
use super::{Key, Section, key};
use crate::config::Config;
use crate::config::reader::Reader;
use crate::config::rules::{MAX_DURATION, boolean, duration, integer};

/// Why a snapshot cannot serve another window.
const NOT_KEPT: &str = "the snapshot lacks events of this window";

/// Trending is off by default.
const DEFAULTS: Trending = Trending { k: 0, bucket: 60_000, buckets: 8 };

pub(super) fn section() -> Section {
    Section {
        name: "trending",
        doc: "Trending lists, for users without a history. They are emitted like users' lists, under the keys \
              deltarec:trending and deltarec:trending:room:ROOM. See docs/trending.md.",
        keys: vec![
            Key {
                name: "k",
                doc: "Length of a trending list. 0 switches trending off: nothing is computed or stored for it.",
                snapshot: ListsRecomputed,
                ..key(integer(0..=1_000), |config| &mut trending(config).k)
            },
            Key {
                name: "bucket",
                doc: "Length of the buckets in which interest is summed. A list changes when a bucket ends. A shorter \
                      bucket follows more closely and emits more lists.",
                snapshot: MustNotChange(NOT_KEPT),
                ..key(duration(1..=MAX_DURATION), |config| &mut trending(config).bucket)
            },
            Key {
                name: "buckets",
                doc: "Number of buckets that count, each half as much as the next younger one. (`buckets` + 1) * `bucket` \
                      is at most `graph.retention`.",
                snapshot: MustNotGrow(NOT_KEPT),
                ..key(integer(1..=16), |config| &mut trending(config).buckets)
            },
            Key {
                name: "rooms",
                // The field is false while trending is off.
                default: "true".into(),
                doc: "Whether each room that events name has a list of its own.",
                snapshot: MustNotGrow(NOT_KEPT),
                ..key(boolean(), |config| &mut config.input.rooms)
            },
        ],
        finish,
        is_off: Some(|config| config.graph.trending.is_none()),
        snapshot: MustNotGrow(NOT_KEPT),
        ..Section::EMPTY
    }
}

/// The parameters. They are present while keys are read, and removed by [`finish`] if trending is off.
fn trending(config: &mut Config) -> &mut Trending {
    config.graph.trending.get_or_insert(DEFAULTS)
}

/// Checks that the window lies within the retention.
fn finish(reader: &mut Reader, config: &mut Config) {
    let Trending { k, bucket, buckets, .. } = *trending(config);
    if k == 0 {
        config.graph.trending = None;
        config.input.rooms = false;
        return;
    }
    let window = bucket.saturating_mul(u64::from(buckets) + 1);
    if window > config.graph.retention
        && reader.is_read(&["trending.k", "trending.bucket", "trending.buckets", "graph.retention"])
    {
        let retention = reader.value("graph", "retention");
        let right = format!(
            "short enough that {} of it, one more than trending.buckets, are at most graph.retention, {} ({})",
            buckets + 1,
            retention.given,
            retention.origin
        );
        reader.refuse("trending", "bucket", right);
    }
}

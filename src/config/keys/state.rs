//! `[state]`: snapshots.

use super::{Cluster, Key, Section, key};
use crate::config::rules::{MAX_DURATION, codec, duration, integer, text};

/// Snapshots: `[state]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Folder or URL of the snapshots; `None`: no snapshots are taken.
    pub uri: Option<String>,
    /// Time between two snapshots, in milliseconds.
    pub interval: u64,
    /// Snapshots kept, 1 to 1,000.
    pub keep: usize,
    /// Name of the codec of the snapshots' files, one of [`CODECS`](snapshots::CODECS).
    pub codec: String,
}

impl Default for State {
    fn default() -> Self {
        State { uri: None, interval: 60_000, keep: 3, codec: "parquet".into() }
    }
}

pub(super) fn section() -> Section {
    Section {
        name: "state",
        keys: vec![
            Key {
                name: "uri",
                example: "\"s3://bucket/path\"",
                doc: "Location of the snapshots, from which the next run resumes: a folder, `file:///...`, \
                      `s3://bucket/path`, `gs://bucket/path` or `az://container/path`. Without it no snapshots are \
                      taken. `--state URI` overrides it.",
                more: "See [snapshots](snapshots.md).",
                cluster: Cluster::WhetherSet,
                ..key(text().optional(), |config| &mut config.state.uri)
            },
            Key {
                name: "interval",
                doc: "Time between two snapshots. A shorter interval makes a restart quicker, at more writing.",
                ..key(duration(1..=MAX_DURATION), |config| &mut config.state.interval)
            },
            Key {
                name: "keep",
                doc: "Snapshots kept; older ones are removed. With more, damage to the newest costs less.",
                ..key(integer(1..=1_000), |config| &mut config.state.keep)
            },
            Key {
                name: "codec",
                doc: "Format of the snapshots' files: `parquet` is small and open to every tool that reads tables; \
                      `records` is the form in memory, faster and larger. Files of other formats can still be read.",
                more: "A build with the feature `abomonation` also has `\"abomonation\"`. See [formats](snapshots.md#files).",
                ..key(codec(), |config| &mut config.state.codec)
            },
        ],
        ..Section::EMPTY
    }
}

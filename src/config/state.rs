use snapshots::CODECS;

use super::raw::Kind;
use super::reader::Reader;
use super::rules::{MAX_DURATION, duration, integer, text};

/// The `[state]` section: snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where snapshots are kept: a folder or a URL; empty: nowhere.
    pub uri: String,
    /// Time between two snapshots, in ms.
    pub interval: u64,
    /// How many snapshots are kept, at least 1.
    pub keep: usize,
    /// How the files of snapshots are written, one of [`CODECS`].
    pub codec: String,
}

pub(super) fn read(reader: &mut Reader) -> State {
    State {
        uri: reader.read("state", "uri", text),
        interval: reader.read("state", "interval", duration(1..=MAX_DURATION)),
        keep: reader.read("state", "keep", integer(1..=1_000)),
        codec: reader.read("state", "codec", codec),
    }
}

/// The name of a codec of this build.
fn codec(value: &Kind) -> Result<String, String> {
    match value {
        Kind::Text(name) if CODECS.iter().any(|codec| codec.name() == name) => Ok(name.clone()),
        _ => {
            let names: Vec<String> = CODECS.iter().map(|codec| format!("\"{}\"", codec.name())).collect();
            Err(format!("one of {}", names.join(", ")))
        }
    }
}

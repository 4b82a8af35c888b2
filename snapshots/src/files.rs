//! Names of the files in a store.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::Kind;

/// Folder of the manifests.
pub(crate) const MANIFESTS: &str = "manifests";
/// Folder of the files of interactions.
pub(crate) const GROUPS: &str = "groups";
/// Folder of the files of the catalogue.
pub(crate) const CATALOGUE: &str = "catalogue";
/// Folder of the files of controls.
pub(crate) const CONTROLS: &str = "controls";
/// File that a run locks. It contains the number of the last snapshot that was published.
pub(crate) const LOCK: &str = "lock";

/// The highest number of a snapshot: exact in JSON for every reader. One snapshot a millisecond takes 285,000 years.
pub(crate) const MAX_SEQUENCE: u64 = (1 << 53) - 1;

/// A run of the program, as part of the names of its files: eight hexadecimal digits that are unlikely to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(pub u32);

impl RunId {
    /// Draws a new id, from the randomness that the operating system gives to hash maps.
    pub fn random() -> Self {
        RunId(RandomState::new().hash_one(std::process::id()) as u32)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(RunId).ok_or_else(|| format!("`{text}` is not the id of a run: eight hexadecimal digits"))
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Path of the manifest of a snapshot.
pub(crate) fn manifest(sequence: u64) -> Path {
    Path::from(format!("{MANIFESTS}/{sequence:010}.json"))
}

/// Parses the path of a manifest; `None` for anything that this program does not write.
pub(crate) fn manifest_sequence(path: &str) -> Option<u64> {
    let sequence = manifest_digits(path)?.parse().ok().filter(|sequence| *sequence <= MAX_SEQUENCE)?;
    (manifest(sequence).as_ref() == path).then_some(sequence)
}

/// Whether a path looks like that of a manifest, although it may be none.
pub(crate) fn resembles_manifest(path: &str) -> bool {
    manifest_digits(path).is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn manifest_digits(path: &str) -> Option<&str> {
    path.strip_prefix(MANIFESTS)?.strip_prefix('/')?.strip_suffix(".json")
}

/// The name of a group file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupName<'n> {
    /// The kind of its rows, which is the folder.
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) run: RunId,
    pub(crate) group: u8,
    /// Name of the codec: the extension.
    pub(crate) codec: &'n str,
}

impl fmt::Display for GroupName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupName { kind, sequence, run, group, codec } = self;
        write!(f, "{}/{sequence:010}-{run}-{group:03x}.{codec}", kind.folder())
    }
}

impl<'n> GroupName<'n> {
    /// Parses a name; `None` for anything that this program does not write.
    pub(crate) fn parse(file: &'n str) -> Option<Self> {
        let (folder, name) = file.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.folder() == folder)?;
        let (stem, codec) = name.split_once('.')?;
        let mut parts = stem.split('-');
        let name = GroupName {
            kind,
            sequence: parts.next()?.parse().ok().filter(|sequence| *sequence <= MAX_SEQUENCE)?,
            run: parts.next()?.parse().ok()?,
            group: u8::from_str_radix(parts.next()?, 16).ok().filter(|group| usize::from(*group) < kind.groups())?,
            codec,
        };
        // There is one way to write each name, and none leads out of the folder.
        let extension = !codec.is_empty() && codec.bytes().all(|byte| byte.is_ascii_lowercase());
        (extension && name.to_string() == file).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_names_that_it_formats() {
        let kind = Kind::Interactions;
        let name = GroupName { kind, sequence: 7, run: RunId(0x1f00_c0de), group: 0xa3, codec: "parquet" };
        assert_eq!(name.to_string(), "groups/0000000007-1f00c0de-0a3.parquet");
        assert_eq!(GroupName::parse("groups/0000000007-1f00c0de-0a3.parquet"), Some(name));
        let of_catalogue = GroupName { kind: Kind::Catalogue, group: 0xf, ..name };
        assert_eq!(of_catalogue.to_string(), "catalogue/0000000007-1f00c0de-00f.parquet");
        assert_eq!(GroupName::parse("catalogue/0000000007-1f00c0de-00f.parquet"), Some(of_catalogue));
        let of_controls = GroupName { kind: Kind::Controls, ..name };
        assert_eq!(of_controls.to_string(), "controls/0000000007-1f00c0de-0a3.parquet");
        assert_eq!(GroupName::parse("controls/0000000007-1f00c0de-0a3.parquet"), Some(of_controls));
        let large = GroupName { sequence: MAX_SEQUENCE, ..name };
        assert_eq!(GroupName::parse(&large.to_string()), Some(large));
        assert_eq!(GroupName::parse(&GroupName { sequence: u64::MAX, ..name }.to_string()), None);
        for other in [
            "groups/7-1f00c0de-0a3.parquet",
            "groups/0000000007-1F00C0DE-0a3.parquet",
            "groups/0000000007-1f00c0de-1a3.parquet",
            "groups/0000000007-1f00c0de-0a3",
            "groups/0000000007-1f00c0de-0a3.",
            "groups/0000000007-1f00c0de-0a3./../../x",
            "groups/0000000007-1f00c0de-0a3.parquet#1",
            "groups/0000000007-1f00c0de-0a3-0.parquet",
            "../0000000007-1f00c0de-0a3.parquet",
            "catalogue/0000000007-1f00c0de-010.parquet",
            "catalogue/groups/0000000007-1f00c0de-00f.parquet",
            "catalogues/0000000007-1f00c0de-00f.parquet",
            "controls/0000000007-1f00c0de-100.parquet",
            "",
        ] {
            assert_eq!(GroupName::parse(other), None, "{other}");
        }
        for sequence in [0, 12, 9_999_999_999, 10_000_000_000, MAX_SEQUENCE] {
            assert_eq!(manifest_sequence(manifest(sequence).as_ref()), Some(sequence));
        }
        for other in [
            "manifests/12.json",
            "manifests/0000000012.json.bak",
            "groups/0000000012.json",
            "manifests/+000000012.json",
            "manifests/00000000012.json",
            "manifests/9007199254740992.json",
            "manifests/18446744073709551615.json",
            "manifests/99999999999999999999999.json",
            "manifests/.json",
        ] {
            assert_eq!(manifest_sequence(other), None, "{other}");
        }
        assert!(resembles_manifest("manifests/12.json") && resembles_manifest("manifests/18446744073709551615.json"));
        assert!(!resembles_manifest("manifests/.json") && !resembles_manifest("manifests/notes.json"));
    }

    #[test]
    fn run_ids_differ_and_parse() {
        assert_ne!(RunId::random(), RunId::random());
        assert_eq!("0000000a".parse(), Ok(RunId(10)));
        for wrong in ["", "a", "0000000A", "+000000a", "0000000aa"] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }
}

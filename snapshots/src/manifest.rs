use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::RunId;
use crate::files::GroupName;

/// What a snapshot says of itself: a JSON file, `{"xxh3": "...", "manifest": {...}}`, in which the checksum is the
/// XXH3-64 of the manifest's text, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the format of manifests, [`Manifest::VERSION`].
    pub version: u32,
    /// The version of the program that took it.
    pub deltarec: String,
    /// Number of the snapshot; higher is newer.
    pub sequence: u64,
    /// The run that took it.
    pub run: RunId,
    /// When it was taken.
    pub taken: Timestamp,
    /// The time of the graph whose interactions it holds.
    pub time: Time,
    /// The configuration that gives the interactions their meaning; only compared.
    pub meaning: Map<String, Value>,
    /// Up to where each input is in it.
    pub inputs: Vec<InputPosition>,
    /// Up to where the output had been written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// How many workers took it; any number can read it.
    pub workers: usize,
    /// Rows in all groups.
    pub rows: u64,
    /// The files, by group: one for each process that has users of it; a group without rows may be missing.
    pub groups: Vec<GroupFile>,
}

/// A time of the graph, `ms << 20 | sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Tick within the millisecond.
    pub sequence: u32,
}

/// Up to where an input is in a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputPosition {
    /// The input as the user named it.
    pub name: String,
    /// What its source needs to go on from there.
    pub position: Value,
}

/// The file of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFile {
    /// The top eight bits of its users' id64s.
    pub group: u8,
    /// Its place in the store.
    pub file: String,
    /// How many interactions.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// XXH3-64 of the whole file; 16 hexadecimal digits in JSON.
    #[serde(with = "digits")]
    pub xxh3: u64,
}

/// Why bytes are no manifest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoManifest {
    /// Not what was written.
    Damaged(String),
    /// Of a format of the future.
    Newer(u32),
}

/// The file around a manifest; the text is kept as it was written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'t> {
    #[serde(with = "digits")]
    xxh3: u64,
    #[serde(borrow)]
    manifest: &'t RawValue,
}

impl Manifest {
    /// The format that this program writes, and the newest it can read.
    pub const VERSION: u32 = 1;

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.bytes).sum()
    }

    /// A whole file.
    pub(crate) fn seal(&self) -> Result<Vec<u8>, serde_json::Error> {
        let text = serde_json::to_string_pretty(self)?;
        let sealed = Sealed { xxh3: xxh3_64(text.as_bytes()), manifest: serde_json::from_str(&text)? };
        let mut file = serde_json::to_vec(&sealed)?;
        file.push(b'\n');
        Ok(file)
    }

    /// Reads a whole file, which may hold anything, of the snapshot with this number.
    pub(crate) fn unseal(file: &[u8], sequence: u64) -> Result<Self, NoManifest> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |error: serde_json::Error| NoManifest::Damaged(format!("it is no manifest: {error}"));
        let sealed: Sealed<'_> = serde_json::from_slice(file).map_err(damaged)?;
        let text = sealed.manifest.get();
        if xxh3_64(text.as_bytes()) != sealed.xxh3 {
            return Err(NoManifest::Damaged("its checksum is wrong".into()));
        }
        let version = serde_json::from_str::<Version>(text).map_err(damaged)?.version;
        if version > Self::VERSION {
            return Err(NoManifest::Newer(version));
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(damaged)?;
        manifest.check(sequence).map_err(NoManifest::Damaged)?;
        Ok(manifest)
    }

    /// What it says must fit together, and name no files but those of groups.
    pub(crate) fn check(&self, sequence: u64) -> Result<(), String> {
        if self.sequence != sequence {
            return Err(format!("it is of snapshot {}", self.sequence));
        }
        if !self.groups.is_sorted_by(|a, b| (a.group, &a.file) < (b.group, &b.file)) {
            return Err("its groups are not in order".into());
        }
        for group in &self.groups {
            let name = GroupName::parse(&group.file);
            if name.is_none_or(|name| name.group != group.group || name.sequence > sequence) {
                return Err(format!("it names `{}` for group {}", group.file, group.group));
            }
        }
        let rows = self.groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
        if rows != Some(self.rows) {
            return Err(format!("its groups do not have the {} rows it tells of", self.rows));
        }
        Ok(())
    }
}

/// A checksum as 16 hexadecimal digits: JSON numbers are exact to 53 bits only.
mod digits {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(checksum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{checksum:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.ok_or_else(|| D::Error::custom(format!("`{text}` is no checksum of 16 hexadecimal digits")))
    }
}

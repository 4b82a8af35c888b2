//! Manifests: the description of a snapshot, and its file.

use jiff::Timestamp;
use schema::IdKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::files::{GroupName, MAX_SEQUENCE};
use crate::{Kind, RunId};

/// The description of a snapshot. Its file is JSON, `{"xxh3": "...", "manifest": {...}}`, in which the checksum is the
/// XXH3-64 of the text of the manifest, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the manifest format: at most [`Manifest::VERSION`].
    pub version: u32,
    /// Version of the program that took the snapshot.
    pub deltarec: String,
    /// Number of the snapshot; higher is newer.
    pub sequence: u64,
    /// Run that took the snapshot.
    pub run: RunId,
    /// Wall-clock time at which the manifest was made.
    pub taken: Timestamp,
    /// Tick of the snapshot.
    pub time: GraphTime,
    /// Settings that a run that resumes from the snapshot is compared with. The name in JSON is the older one.
    #[serde(rename = "meaning")]
    pub compatibility: Map<String, Value>,
    /// Position of each input of events after the tick.
    pub inputs: Vec<InputPosition>,
    /// Position of each input of the catalogue after the tick.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalogue_inputs: Vec<InputPosition>,
    /// Position of each input of controls after the tick.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_inputs: Vec<InputPosition>,
    /// Position of the output; not written by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Number of workers that took it. Any number can resume from it.
    pub workers: usize,
    /// Number of interactions in all groups.
    pub rows: u64,
    /// Files of interactions, ordered by group. A group may have several files, and none if it has no rows.
    pub groups: Vec<GroupFile>,
    /// Files of the catalogue, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalogue: Vec<GroupFile>,
    /// Files of the controls, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<GroupFile>,
}

/// A tick of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GraphTime {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Number of the tick within the millisecond.
    pub sequence: u32,
}

/// The position of an input in a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputPosition {
    /// Name of the input, as the user gave it.
    pub name: String,
    /// Position from which its source continues.
    pub position: Value,
}

/// The file of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFile {
    /// Top eight bits of the id64 of its users, or top four bits of that of its items.
    pub group: u8,
    /// Path in the store.
    pub file: String,
    /// Number of interactions, statements or controls.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// XXH3-64 of the whole file; in JSON 16 hexadecimal digits.
    #[serde(with = "digits")]
    pub xxh3: u64,
}

/// Why a manifest cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ManifestError {
    /// The file is not as it was written.
    Damaged(String),
    /// The file has this newer version.
    Newer(u32),
}

/// The file around a manifest. The text stays as it was written, for the checksum.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'t> {
    #[serde(with = "digits")]
    xxh3: u64,
    #[serde(borrow)]
    manifest: &'t RawValue,
}

impl Manifest {
    /// The setting with the fingerprint of the key of ids ([`schema::IdKey`]). A snapshot without it was taken without a key.
    pub const ID_KEY: &str = "identity.key";

    /// The newest version that this program reads, and the one that it writes if there are controls. Version 1 had neither a
    /// catalogue nor events without a level, version 2 has no controls: a program that knows no more would lose them.
    pub const VERSION: u32 = 3;

    /// The version that this program writes if there are no controls, so that programs before them still read it.
    pub const VERSION_WITHOUT_CONTROLS: u32 = 2;

    /// Whether the ids of the snapshot are those of this key.
    pub(crate) fn has_ids_of(&self, ids: IdKey) -> bool {
        let fingerprint = ids.fingerprint().map(|fingerprint| fingerprint.to_string());
        self.compatibility.get(Self::ID_KEY).and_then(Value::as_str) == fingerprint.as_deref()
    }

    /// All its files.
    pub fn files(&self) -> impl Iterator<Item = &GroupFile> {
        self.groups.iter().chain(&self.catalogue).chain(&self.controls)
    }

    /// Number of statements of the catalogue.
    pub fn statements(&self) -> u64 {
        self.catalogue.iter().map(|file| file.rows).sum()
    }

    /// Number of controls.
    pub fn control_count(&self) -> u64 {
        self.controls.iter().map(|file| file.rows).sum()
    }

    /// Total size of its files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// Encodes the whole file.
    pub(crate) fn seal(&self) -> Result<Vec<u8>, serde_json::Error> {
        let text = serde_json::to_string_pretty(self)?;
        let sealed = Sealed { xxh3: xxh3_64(text.as_bytes()), manifest: serde_json::from_str(&text)? };
        let mut file = serde_json::to_vec(&sealed)?;
        file.push(b'\n');
        Ok(file)
    }

    /// Decodes the whole file of the snapshot with this number. Any bytes are safe.
    pub(crate) fn unseal(file: &[u8], sequence: u64) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |error: serde_json::Error| ManifestError::Damaged(format!("it is not a manifest: {error}"));
        let sealed: Sealed<'_> = serde_json::from_slice(file).map_err(damaged)?;
        let text = sealed.manifest.get();
        if xxh3_64(text.as_bytes()) != sealed.xxh3 {
            return Err(ManifestError::Damaged("its checksum is wrong".into()));
        }
        let version = serde_json::from_str::<Version>(text).map_err(damaged)?.version;
        if version > Self::VERSION {
            return Err(ManifestError::Newer(version));
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(damaged)?;
        manifest.check(sequence).map_err(ManifestError::Damaged)?;
        Ok(manifest)
    }

    /// Checks that the parts are consistent, and that only group files are named.
    pub(crate) fn check(&self, sequence: u64) -> Result<(), String> {
        if self.sequence != sequence {
            return Err(format!("it is of snapshot {}", self.sequence));
        }
        if sequence > MAX_SEQUENCE {
            return Err(format!("its number is above {MAX_SEQUENCE}"));
        }
        if !self.catalogue.is_empty() && self.version < 2 {
            return Err(format!("it has a catalogue and is of version {}", self.version));
        }
        if !self.controls.is_empty() && self.version < 3 {
            return Err(format!("it has controls and is of version {}", self.version));
        }
        let kinds =
            [(Kind::Interactions, &self.groups), (Kind::Catalogue, &self.catalogue), (Kind::Controls, &self.controls)];
        for (kind, files) in kinds {
            if !files.is_sorted_by(|a, b| (a.group, &a.file) < (b.group, &b.file)) {
                return Err("its groups are not in order".into());
            }
            for GroupFile { group, file, .. } in files {
                let name = GroupName::parse(file).filter(|name| (name.kind, name.group) == (kind, *group));
                if name.is_none_or(|name| name.sequence > sequence) {
                    return Err(format!("it names `{file}` for group {group} of the {}", kind.name()));
                }
            }
        }
        self.check_time(Timestamp::now().as_millisecond())?;
        if sum(self.files().map(|file| file.bytes)).is_none() {
            return Err("its groups are larger than any store".into());
        }
        if sum(self.groups.iter().map(|file| file.rows)) != Some(self.rows) {
            return Err(format!("its groups do not have {} rows in total", self.rows));
        }
        if sum(self.catalogue.iter().map(|file| file.rows)).is_none() {
            return Err("its catalogue has more statements than any store".into());
        }
        if sum(self.controls.iter().map(|file| file.rows)).is_none() {
            return Err("it has more controls than any store".into());
        }
        Ok(())
    }

    /// Checks that a run can have been at this time. `now` is the clock of this machine, in milliseconds; a clock that stands
    /// before [`EARLIEST_CLOCK`] is wrong.
    fn check_time(&self, now: i64) -> Result<(), String> {
        let GraphTime { ms, sequence } = self.time;
        let latest = u64::try_from(now).unwrap_or(0).max(EARLIEST_CLOCK).saturating_add(MAX_LEAD);
        if ms > latest {
            return Err(format!("its time, {ms} ms, is more than ten years ahead of the clock of this machine"));
        }
        if sequence >= TICKS_PER_MS {
            return Err(format!("its time has tick {sequence} of a millisecond, of at most {TICKS_PER_MS}"));
        }
        Ok(())
    }
}

/// The sum, if it fits.
fn sum(mut numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.try_fold(0, u64::checked_add)
}

/// 2026, in milliseconds since the Unix epoch: before it there was no program to write snapshots.
const EARLIEST_CLOCK: u64 = 1_767_225_600_000;

/// Ten years in milliseconds: the longest `input.max_skew`, so no run is further ahead of its clock.
const MAX_LEAD: u64 = 3_650 * 86_400_000;

/// Ticks in a millisecond of the graph.
const TICKS_PER_MS: u32 = 1 << 20;

/// Serializes a checksum as 16 hexadecimal digits: JSON numbers are exact to 53 bits only.
mod digits {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
    pub(crate) fn serialize<S: Serializer>(checksum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{checksum:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.ok_or_else(|| D::Error::custom(format!("`{text}` is not a checksum of 16 hexadecimal digits")))
    }
}

//! Checking snapshots: which are sound, and which is the newest.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use object_store::path::Path;
use schema::IdKey;

use crate::files::{self, GROUPS, MANIFESTS};
use crate::{GroupFile, Manifest, Store, StoreError};

/// Files that are fetched concurrently: enough to hide the latency of a cloud store, few enough for memory.
const CONCURRENT: usize = 8;

/// What is wrong with a file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the snapshot.
    pub sequence: u64,
    /// The file, including its store.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How thoroughly a snapshot is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// All files exist and have the right size. Only manifests are read.
    Sizes,
    /// All files are read, their checksums are right, and this program supports their formats.
    Contents,
    /// All files are decoded too.
    Rows,
}

/// The newest sound snapshot of a store.
#[derive(Clone, Debug, Default)]
pub struct Newest {
    /// Its manifest; `None` if no snapshot is sound.
    pub manifest: Option<Manifest>,
    /// Damage of newer snapshots.
    pub damaged: Vec<Damage>,
    /// Number for the next snapshot: above all existing ones, sound or not.
    pub next: u64,
}

/// The result of checking one snapshot.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Its number.
    pub sequence: u64,
    /// Its manifest, unless that is damaged.
    pub manifest: Option<Manifest>,
    /// Damage found; empty if the snapshot is sound.
    pub damaged: Vec<Damage>,
}

impl Inspected {
    /// Whether no damage was found.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }
}

impl Store {
    /// Finds the newest snapshot with files that are all undamaged and readable by this program. Reads snapshots from the
    /// newest until one is sound.
    ///
    /// A file that cannot be reached is an error and not damage: resuming from an older snapshot would only hide it.
    pub fn newest(&self) -> Result<Newest, StoreError> {
        self.runtime.block_on(async {
            let sequences = self.sequences().await?;
            let sizes = self.sizes().await?;
            let next = sequences.first().map_or(1, |newest| newest + 1);
            let mut newest = Newest { next, ..Newest::default() };
            for sequence in sequences {
                let inspected = self.check(sequence, Depth::Contents, &sizes).await?;
                if inspected.is_sound() {
                    newest.manifest = inspected.manifest;
                    break;
                }
                newest.damaged.extend(inspected.damaged);
            }
            Ok(newest)
        })
    }

    /// Checks all snapshots, newest first.
    pub fn list(&self, depth: Depth) -> Result<Vec<Inspected>, StoreError> {
        self.runtime.block_on(self.check_all(depth))
    }

    /// Checks one snapshot. One that does not exist is reported as damaged.
    pub fn inspect(&self, sequence: u64, depth: Depth) -> Result<Inspected, StoreError> {
        self.runtime.block_on(async { self.check(sequence, depth, &self.sizes().await?).await })
    }

    pub(crate) async fn check_all(&self, depth: Depth) -> Result<Vec<Inspected>, StoreError> {
        let sequences = self.sequences().await?;
        let sizes = self.sizes().await?;
        let mut inspected = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            inspected.push(self.check(sequence, depth, &sizes).await?);
        }
        Ok(inspected)
    }

    /// Numbers of all manifests, highest first.
    async fn sequences(&self) -> Result<Vec<u64>, StoreError> {
        let files = self.list_files(MANIFESTS).await?;
        let mut sequences: Vec<u64> = files.iter().filter_map(|(path, _)| files::manifest_sequence(path)).collect();
        sequences.sort_unstable_by(|a, b| b.cmp(a));
        Ok(sequences)
    }

    /// Sizes of all group files.
    pub(crate) async fn sizes(&self) -> Result<HashMap<Path, u64>, StoreError> {
        Ok(self.list_files(GROUPS).await?.into_iter().collect())
    }

    async fn check(&self, sequence: u64, depth: Depth, sizes: &HashMap<Path, u64>) -> Result<Inspected, StoreError> {
        let mut damaged = Vec::new();
        let mut note = |result: Result<(), StoreError>| match result {
            Err(StoreError::Damaged { place, reason } | StoreError::Foreign { place, reason }) => {
                damaged.push(Damage { sequence, file: place, reason });
                Ok(())
            }
            result => result,
        };
        let manifest = match self.read_manifest(sequence).await {
            Ok(manifest) => Some(manifest),
            Err(error) => note(Err(error)).map(|()| None)?,
        };
        // The rows of a state with another key cannot be assigned to their groups.
        let ids = self.ids.filter(|ids| manifest.as_ref().is_some_and(|manifest| manifest.has_ids_of(*ids)));
        let groups = manifest.iter().flat_map(|manifest| &manifest.groups);
        let mut present = Vec::new();
        for group in groups {
            match self.check_size(group, sizes) {
                Ok(()) => present.push(group),
                missing => note(missing)?,
            }
        }
        // Files that fail the cheap check are not read.
        if depth > Depth::Sizes {
            let checks = present.into_iter().map(|group| self.check_contents(group, depth, ids));
            let mut checks = stream::iter(checks).buffered(CONCURRENT);
            while let Some(result) = checks.next().await {
                note(result)?;
            }
        }
        Ok(Inspected { sequence, manifest, damaged })
    }

    pub(crate) fn check_size(&self, group: &GroupFile, sizes: &HashMap<Path, u64>) -> Result<(), StoreError> {
        let path = Path::from(group.file.as_str());
        let reason = match sizes.get(&path) {
            Some(size) if *size == group.bytes => return Ok(()),
            Some(size) => format!("it has {size} bytes instead of {}", group.bytes),
            None => "it is missing".into(),
        };
        Err(StoreError::Damaged { place: self.place(&path), reason })
    }

    async fn check_contents(&self, group: &GroupFile, depth: Depth, ids: Option<IdKey>) -> Result<(), StoreError> {
        let bytes = self.fetch(group).await?;
        if depth == Depth::Rows { self.decode(group, &bytes, ids).map(|_| ()) } else { self.recognise(group, &bytes) }
    }
}

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use object_store::path::Path;

use crate::files::{self, GROUPS, MANIFESTS};
use crate::{GroupFile, Manifest, Store, StoreError};

/// Files that are fetched at the same time: enough to hide the latency of a cloud, few enough for memory.
const CONCURRENT: usize = 8;

/// What is wrong with a file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The snapshot.
    pub sequence: u64,
    /// The file, with its store.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// How much is looked at to say that a snapshot is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// All files are there and of the right size. Nothing but manifests is read.
    Sizes,
    /// All files are read, their checksums are right, and this program knows their formats.
    Contents,
    /// And their rows can be read.
    Rows,
}

/// The newest sound snapshot.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// `None` where there is no sound one.
    pub manifest: Option<Manifest>,
    /// What is wrong with those that are newer.
    pub damaged: Vec<Damage>,
    /// The number for the next snapshot: above all that are there, sound or not.
    pub next: u64,
}

/// A snapshot that is there.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub sequence: u64,
    /// What it says of itself, unless that is damaged.
    pub manifest: Option<Manifest>,
    /// What is wrong with it; empty: sound.
    pub damaged: Vec<Damage>,
}

impl Listed {
    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }
}

impl Store {
    /// Goes through the snapshots, newest first, and reads all their files until all of one are as they were written, and
    /// for this program to read.
    ///
    /// A file that cannot be reached is an error and not damage: going back would only hide it.
    pub fn newest(&self) -> Result<Found, StoreError> {
        self.runtime.block_on(async {
            let sequences = self.sequences().await?;
            let sizes = self.sizes().await?;
            let mut found = Found { next: sequences.first().map_or(1, |newest| newest + 1), ..Found::default() };
            for sequence in sequences {
                let listed = self.look(sequence, Depth::Contents, &sizes).await?;
                if listed.is_sound() {
                    found.manifest = listed.manifest;
                    break;
                }
                found.damaged.extend(listed.damaged);
            }
            Ok(found)
        })
    }

    /// All snapshots, newest first.
    pub fn list(&self, depth: Depth) -> Result<Vec<Listed>, StoreError> {
        self.runtime.block_on(self.listed(depth))
    }

    /// One snapshot; it need not be there.
    pub fn examine(&self, sequence: u64, depth: Depth) -> Result<Listed, StoreError> {
        self.runtime.block_on(async { self.look(sequence, depth, &self.sizes().await?).await })
    }

    pub(crate) async fn listed(&self, depth: Depth) -> Result<Vec<Listed>, StoreError> {
        let sequences = self.sequences().await?;
        let sizes = self.sizes().await?;
        let mut listed = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            listed.push(self.look(sequence, depth, &sizes).await?);
        }
        Ok(listed)
    }

    /// The numbers of all manifests, the highest first.
    async fn sequences(&self) -> Result<Vec<u64>, StoreError> {
        let files = self.list_files(MANIFESTS).await?;
        let mut sequences: Vec<u64> = files.iter().filter_map(|(path, _)| files::manifest_sequence(path)).collect();
        sequences.sort_unstable_by(|a, b| b.cmp(a));
        Ok(sequences)
    }

    pub(crate) async fn sizes(&self) -> Result<HashMap<Path, u64>, StoreError> {
        Ok(self.list_files(GROUPS).await?.into_iter().collect())
    }

    async fn look(&self, sequence: u64, depth: Depth, sizes: &HashMap<Path, u64>) -> Result<Listed, StoreError> {
        let mut damaged = Vec::new();
        let mut note = |result: Result<(), StoreError>| match result {
            Err(StoreError::Damaged { place, what } | StoreError::Foreign { place, what }) => {
                damaged.push(Damage { sequence, file: place, what });
                Ok(())
            }
            result => result,
        };
        let manifest = match self.read_manifest(sequence).await {
            Ok(manifest) => Some(manifest),
            Err(error) => note(Err(error)).map(|()| None)?,
        };
        let groups = manifest.iter().flat_map(|manifest| &manifest.groups);
        let mut whole = Vec::new();
        for group in groups {
            match self.check_size(group, sizes) {
                Ok(()) => whole.push(group),
                missing => note(missing)?,
            }
        }
        // The first look is cheap, and what fails it need not be read to know that the snapshot is not sound.
        if depth > Depth::Sizes {
            let checks = whole.into_iter().map(|group| self.check_contents(group, depth));
            let mut checks = stream::iter(checks).buffered(CONCURRENT);
            while let Some(result) = checks.next().await {
                note(result)?;
            }
        }
        Ok(Listed { sequence, manifest, damaged })
    }

    pub(crate) fn check_size(&self, group: &GroupFile, sizes: &HashMap<Path, u64>) -> Result<(), StoreError> {
        let path = Path::from(group.file.as_str());
        let what = match sizes.get(&path) {
            Some(size) if *size == group.bytes => return Ok(()),
            Some(size) => format!("it has {size} bytes instead of {}", group.bytes),
            None => "it is missing".into(),
        };
        Err(StoreError::Damaged { place: self.place(&path), what })
    }

    async fn check_contents(&self, group: &GroupFile, depth: Depth) -> Result<(), StoreError> {
        let bytes = self.fetch(group).await?;
        if depth == Depth::Rows { self.decode(group, &bytes).map(|_| ()) } else { self.recognise(group, &bytes) }
    }
}

//! Checking snapshots: which are sound, and which is the newest.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use object_store::path::Path;
use schema::IdKey;

use crate::files::{self, MAX_SEQUENCE};
use crate::listing::{Entry, Listing};
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
    /// A newer snapshot of which only traces are left.
    pub missing: Option<Missing>,
    /// Files among the manifests with names that this program does not write.
    pub ignored: Vec<String>,
    /// Number for the next snapshot: above all existing ones, sound or not, and without any above the missing one.
    pub next: u64,
}

/// A snapshot newer than all manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its number.
    pub sequence: u64,
    /// Whether its manifest is known to have existed. Otherwise only files of its groups are left, as after a run that was
    /// killed while it took the snapshot.
    pub was_published: bool,
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
    /// Whether there is a file with the name of the manifest.
    pub(crate) has_file: bool,
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
        self.newest_accepted(|_| Ok(()))
    }

    /// [`Store::newest`] with a further check of each manifest, of what only the caller understands. A manifest that fails it is
    /// damaged.
    pub fn newest_accepted(&self, accept: impl Fn(&Manifest) -> Result<(), String>) -> Result<Newest, StoreError> {
        self.block_on(async {
            let mut listing = self.listing().await?;
            let last = listing.manifests.keys().next_back().copied();
            if last == Some(MAX_SEQUENCE) {
                return Err(StoreError::NoNumber { place: self.place(&files::manifest(MAX_SEQUENCE)) });
            }
            let missing = self.missing(last, &listing);
            // Without any manifest, the numbers that were used are known from what is missing.
            let used = last.or(missing.map(|missing| missing.sequence.min(MAX_SEQUENCE - 1)));
            let mut newest = Newest {
                next: used.map_or(1, |used| used + 1),
                missing,
                ignored: std::mem::take(&mut listing.ignored),
                ..Newest::default()
            };
            for sequence in listing.manifests.keys().rev() {
                let mut inspected = self.check(*sequence, Depth::Contents, &listing).await?;
                let refused = inspected.manifest.as_ref().and_then(|manifest| accept(manifest).err());
                if let Some(reason) = refused {
                    let file = self.place(&files::manifest(*sequence));
                    inspected.damaged.push(Damage { sequence: *sequence, file, reason });
                }
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
        self.block_on(async { self.check_all(depth, &self.listing().await?).await })
    }

    /// Checks one snapshot. One that does not exist is reported as damaged.
    pub fn inspect(&self, sequence: u64, depth: Depth) -> Result<Inspected, StoreError> {
        self.block_on(async { self.check(sequence, depth, &self.listing().await?).await })
    }

    pub(crate) async fn check_all(&self, depth: Depth, listing: &Listing) -> Result<Vec<Inspected>, StoreError> {
        let mut inspected = Vec::with_capacity(listing.manifests.len());
        for sequence in listing.manifests.keys().rev() {
            inspected.push(self.check(*sequence, depth, listing).await?);
        }
        Ok(inspected)
    }

    /// The newest snapshot that has left traces, if its manifest is gone.
    fn missing(&self, newest: Option<u64>, listing: &Listing) -> Option<Missing> {
        let is_newer = |sequence: &u64| newest.is_none_or(|newest| *sequence > newest);
        let published = self.recorded_sequence().filter(is_newer);
        let begun = listing.newest_group().filter(is_newer);
        let sequence = published.max(begun)?;
        Some(Missing { sequence, was_published: published == Some(sequence) })
    }

    async fn check(&self, sequence: u64, depth: Depth, listing: &Listing) -> Result<Inspected, StoreError> {
        let mut damaged = Vec::new();
        let mut note = |result: Result<(), StoreError>| match result {
            Err(StoreError::Damaged { place, reason } | StoreError::Foreign { place, reason }) => {
                damaged.push(Damage { sequence, file: place, reason });
                Ok(())
            }
            result => result,
        };
        let entry = listing.manifests.get(&sequence);
        let manifest = match self.read_listed(sequence, entry).await {
            Ok(manifest) => Some(manifest),
            Err(error) => note(Err(error)).map(|()| None)?,
        };
        // The rows of a state with another key cannot be assigned to their groups.
        let ids = self.ids.filter(|ids| manifest.as_ref().is_some_and(|manifest| manifest.has_ids_of(*ids)));
        let groups = manifest.iter().flat_map(Manifest::files);
        let mut present = Vec::new();
        for group in groups {
            match self.check_size(group, &listing.groups) {
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
        Ok(Inspected { sequence, manifest, damaged, has_file: matches!(entry, Some(Entry::File(_))) })
    }

    /// Reads a manifest, unless the listing shows that there is none.
    async fn read_listed(&self, sequence: u64, entry: Option<&Entry>) -> Result<Manifest, StoreError> {
        match entry.map_or_else(|| Err("it is missing".to_owned()), |entry| entry.check_file()) {
            Ok(_) => self.read_manifest(sequence).await,
            Err(reason) => Err(StoreError::Damaged { place: self.place(&files::manifest(sequence)), reason }),
        }
    }

    pub(crate) fn check_size(&self, group: &GroupFile, files: &HashMap<String, Entry>) -> Result<(), StoreError> {
        let reason = match files.get(&group.file).map(|entry| entry.check_file()) {
            Some(Ok(size)) if size == group.bytes => return Ok(()),
            Some(Ok(size)) => format!("it has {size} bytes instead of {}", group.bytes),
            Some(Err(reason)) => reason,
            None => "it is missing".into(),
        };
        Err(StoreError::Damaged { place: self.place(&Path::from(group.file.as_str())), reason })
    }

    async fn check_contents(&self, group: &GroupFile, depth: Depth, ids: Option<IdKey>) -> Result<(), StoreError> {
        let bytes = self.fetch(group).await?;
        if depth == Depth::Rows { self.check_rows(group, &bytes, ids) } else { self.recognise(group, &bytes) }
    }
}

//! Deleting old snapshots.

use std::collections::HashSet;
use std::fs;

use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::files::{self, GroupName, MANIFESTS};
use crate::listing::Entry;
use crate::{Depth, Inspected, Kind, Manifest, RunId, Store, StoreError};

/// The number of snapshots and files that were deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deleted snapshots.
    pub snapshots: usize,
    /// Deleted group files, of these snapshots and of unpublished ones.
    pub files: usize,
    /// Total size of those files in bytes.
    pub bytes: u64,
}

impl Store {
    /// Deletes all snapshots that are older than the `keep` newest sound ones (at least one is kept), and then the group
    /// files that no manifest names.
    ///
    /// A snapshot that is being written has no manifest yet, so files with a higher number than the newest manifest are
    /// kept; with `run`, only those of that run. Damaged snapshots among the kept ones stay too, with their files.
    /// `depth` is how snapshots are checked to be sound; after publishing one, [`Depth::Sizes`] suffices.
    pub fn prune(&self, keep: usize, run: Option<RunId>, depth: Depth) -> Result<Pruned, StoreError> {
        self.block_on(async {
            let listing = self.listing().await?;
            let snapshots = self.check_all(depth, &listing).await?;
            let (kept, old) = snapshots.split_at(kept(&snapshots, keep));
            // A folder in place of a manifest is not ours to delete.
            let old: Vec<&Inspected> = old.iter().filter(|snapshot| snapshot.has_file).collect();
            let mut pruned = Pruned { snapshots: old.len(), ..Pruned::default() };
            // Manifests first, from the oldest: if this is interrupted, no manifest names deleted files.
            for snapshot in old.iter().rev() {
                self.delete(&files::manifest(snapshot.sequence)).await?;
            }
            let retained = RetainedFiles::new(kept, snapshots.first(), run);
            for (file, entry) in &listing.groups {
                let Entry::File(size) = entry else { continue };
                if !retained.contains(file) {
                    self.delete(&Path::from(file.as_str())).await?;
                    pruned.files += 1;
                    pruned.bytes += size;
                }
            }
            self.sweep(&retained)?;
            Ok(pruned)
        })
    }

    /// Deletes the files of a snapshot that will never be published, so that a full disk has room for the next.
    pub fn discard(&self, sequence: u64, run: RunId) -> Result<(), StoreError> {
        self.block_on(async {
            for file in self.groups().await?.keys() {
                if GroupName::parse(file).is_some_and(|name| (name.sequence, name.run) == (sequence, run)) {
                    self.delete(&Path::from(file.as_str())).await?;
                }
            }
            Ok(())
        })
    }

    /// Deletes the temporary files of interrupted writes, which the store does not list.
    fn sweep(&self, retained: &RetainedFiles<'_>) -> Result<(), StoreError> {
        for folder in Kind::ALL.map(Kind::folder) {
            self.sweep_folder(folder, |name| retained.contains(&format!("{folder}/{name}")))?;
        }
        // A manifest that is being written is newer than all others.
        let is_published = |sequence| retained.newest.is_some_and(|newest| sequence <= newest);
        self.sweep_folder(MANIFESTS, |name| {
            let sequence = files::manifest_sequence(&format!("{MANIFESTS}/{name}"));
            !sequence.is_some_and(is_published)
        })
    }

    fn sweep_folder(&self, folder: &str, is_kept: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let Some(folder) = self.folder.as_ref().map(|place| place.join(folder)).filter(|folder| folder.exists()) else {
            return Ok(());
        };
        let failed = |error| StoreError::of_io(folder.display().to_string(), "delete old files", &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some((name, _)) = name.to_str().and_then(|name| name.rsplit_once('#')) else { continue };
            let is_file = || entry.file_type().is_ok_and(|kind| kind.is_file());
            if !is_kept(name) && is_file() {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match self.files.delete(path).await {
            // Another process may delete it too.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::of_store(self.place(path), "delete", &error)),
        }
    }
}

/// Number of newest snapshots to keep, damaged ones included.
fn kept(snapshots: &[Inspected], keep: usize) -> usize {
    let sound = snapshots.iter().enumerate().filter(|(_, snapshot)| snapshot.is_sound());
    sound.map(|(at, _)| at + 1).nth(keep.saturating_sub(1)).unwrap_or(snapshots.len())
}

/// The group files to keep.
struct RetainedFiles<'s> {
    named: HashSet<&'s str>,
    /// Snapshots with unreadable manifests: it is unknown which files they name.
    unreadable: HashSet<u64>,
    newest: Option<u64>,
    run: Option<RunId>,
}

impl<'s> RetainedFiles<'s> {
    fn new(kept: &'s [Inspected], newest: Option<&Inspected>, run: Option<RunId>) -> Self {
        let manifests = kept.iter().filter_map(|snapshot| snapshot.manifest.as_ref());
        RetainedFiles {
            named: manifests.flat_map(Manifest::files).map(|group| group.file.as_str()).collect(),
            unreadable: kept
                .iter()
                .filter(|snapshot| snapshot.manifest.is_none())
                .map(|snapshot| snapshot.sequence)
                .collect(),
            newest: newest.map(|snapshot| snapshot.sequence),
            run,
        }
    }

    /// Files that this program did not write are kept.
    fn contains(&self, file: &str) -> bool {
        let Some(name) = GroupName::parse(file) else { return true };
        let unpublished = self.newest.is_none_or(|newest| name.sequence > newest);
        let being_written = unpublished && self.run.is_none_or(|run| run == name.run);
        being_written || self.unreadable.contains(&name.sequence) || self.named.contains(file)
    }
}

use std::collections::HashSet;
use std::fs;

use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::files::{self, GROUPS, GroupName, MANIFESTS};
use crate::{Depth, Listed, RunId, Store, StoreError};

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Snapshots.
    pub snapshots: usize,
    /// Files of groups, of these and of snapshots that were never published.
    pub files: usize,
    /// Bytes in those files.
    pub bytes: u64,
}

impl Store {
    /// Deletes all snapshots that are older than the `keep` newest sound ones (at least one stays), and then the files of
    /// groups that no manifest names.
    ///
    /// A snapshot that is being written has no manifest yet: files with a number above the newest manifest's stay,
    /// unless `run` tells which run is the one that writes, and they are of another. Damaged snapshots that are not
    /// older stay too, with their files. `depth` says what sound means here; after a snapshot of one's own
    /// [`Depth::Sizes`] will do.
    pub fn prune(&self, keep: usize, run: Option<RunId>, depth: Depth) -> Result<Pruned, StoreError> {
        self.runtime.block_on(async {
            let listed = self.listed(depth).await?;
            let (kept, old) = listed.split_at(kept(&listed, keep));
            let mut pruned = Pruned { snapshots: old.len(), ..Pruned::default() };
            // Manifests first, oldest first: whenever this ends, no manifest is left that names deleted files.
            for snapshot in old.iter().rev() {
                self.delete(&files::manifest(snapshot.sequence)).await?;
            }
            let needed = Needed::new(kept, listed.first(), run);
            for (path, size) in self.list_files(GROUPS).await? {
                if !needed.has(path.as_ref()) {
                    self.delete(&path).await?;
                    pruned.files += 1;
                    pruned.bytes += size;
                }
            }
            self.sweep(&needed)?;
            Ok(pruned)
        })
    }

    /// Deletes the files of a snapshot that will never be published: on a full disk they would be in the way of the next.
    pub fn discard(&self, sequence: u64, run: RunId) -> Result<(), StoreError> {
        self.runtime.block_on(async {
            for (path, _) in self.list_files(GROUPS).await? {
                if GroupName::parse(path.as_ref()).is_some_and(|name| (name.sequence, name.run) == (sequence, run)) {
                    self.delete(&path).await?;
                }
            }
            Ok(())
        })
    }

    /// Deletes what a write that was killed left beside its place: such files are in no list of the store.
    fn sweep(&self, needed: &Needed<'_>) -> Result<(), StoreError> {
        self.sweep_folder(GROUPS, |name| needed.has(&format!("{GROUPS}/{name}")))?;
        // The manifest that is being written is newer than all that are there.
        let is_published = |sequence| needed.newest.is_some_and(|newest| sequence <= newest);
        self.sweep_folder(MANIFESTS, |name| {
            let sequence = files::manifest_sequence(&Path::from(format!("{MANIFESTS}/{name}")));
            !sequence.is_some_and(is_published)
        })
    }

    fn sweep_folder(&self, folder: &str, stays: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let Some(folder) = self.folder.as_ref().map(|place| place.join(folder)).filter(|folder| folder.exists()) else {
            return Ok(());
        };
        let failed = |error| StoreError::of_io(folder.display().to_string(), "delete old files", &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some((name, _)) = name.to_str().and_then(|name| name.rsplit_once('#')) else { continue };
            if !stays(name) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match self.files.delete(path).await {
            // Somebody else did it.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::of_store(self.place(path), "delete", &error)),
        }
    }
}

/// How many of the newest snapshots stay.
fn kept(listed: &[Listed], keep: usize) -> usize {
    let sound = listed.iter().enumerate().filter(|(_, snapshot)| snapshot.is_sound());
    sound.map(|(at, _)| at + 1).nth(keep.saturating_sub(1)).unwrap_or(listed.len())
}

/// Which files of groups stay.
struct Needed<'s> {
    named: HashSet<&'s str>,
    /// Snapshots whose manifest cannot be read: nobody knows what it names.
    unread: HashSet<u64>,
    newest: Option<u64>,
    run: Option<RunId>,
}

impl<'s> Needed<'s> {
    fn new(kept: &'s [Listed], newest: Option<&Listed>, run: Option<RunId>) -> Self {
        let manifests = kept.iter().filter_map(|snapshot| snapshot.manifest.as_ref());
        Needed {
            named: manifests.flat_map(|manifest| &manifest.groups).map(|group| group.file.as_str()).collect(),
            unread: kept
                .iter()
                .filter(|snapshot| snapshot.manifest.is_none())
                .map(|snapshot| snapshot.sequence)
                .collect(),
            newest: newest.map(|snapshot| snapshot.sequence),
            run,
        }
    }

    /// Files of others are not ours to delete.
    fn has(&self, file: &str) -> bool {
        let Some(name) = GroupName::parse(file) else { return true };
        let unpublished = self.newest.is_none_or(|newest| name.sequence > newest);
        let being_written = unpublished && self.run.is_none_or(|run| run == name.run);
        being_written || self.unread.contains(&name.sequence) || self.named.contains(file)
    }
}

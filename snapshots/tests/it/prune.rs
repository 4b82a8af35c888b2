use std::fs;
use std::path::Path;

use snapshots::{Depth, Pruned, RunId};

use super::store::{files, store};
use super::{RUN, of_group, rows, take};

const OTHER: RunId = RunId(7);

/// The files that are remaining: manifests by number, group files by number and run.
fn remaining(folder: &Path) -> (Vec<u64>, Vec<String>) {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let manifests = files(folder, "manifests").iter().map(|path| name(path)[..10].parse().unwrap()).collect();
    let mut groups: Vec<String> = files(folder, "groups").iter().map(|path| name(path)[9..19].to_owned()).collect();
    groups.dedup();
    (manifests, groups)
}

#[test]
fn keeps_the_newest_and_deletes_unnamed_files() {
    let (folder, store) = store();
    for sequence in 1..=5 {
        take(&store, sequence, RUN);
    }
    // Files of a run that died while it wrote the third, and of one that lost the race for the fifth.
    store.put_group(3, OTHER, 3, &rows(&of_group(3, 1))).unwrap();
    store.put_group(5, OTHER, 3, &rows(&of_group(3, 1))).unwrap();
    fs::write(folder.path().join("groups/0000000002-1f00c0de-00a.parquet#1"), "half of it").unwrap();
    fs::write(folder.path().join("groups/README"), "not ours").unwrap();
    let pruned = store.prune(2, None, Depth::Contents).unwrap();
    assert_eq!((pruned.snapshots, pruned.files), (3, 3 * 3 + 2));
    assert!(pruned.bytes > 0);
    fs::remove_file(folder.path().join("groups/README")).unwrap();
    assert_eq!(remaining(folder.path()), (vec![4, 5], vec!["4-1f00c0de".into(), "5-1f00c0de".into()]));
    assert!(store.list(Depth::Rows).unwrap().iter().all(snapshots::Inspected::is_sound));
    assert_eq!(store.prune(2, None, Depth::Contents).unwrap(), Pruned::default());
    // At least one snapshot is kept.
    assert_eq!(store.prune(0, None, Depth::Contents).unwrap().snapshots, 1);
    assert_eq!(remaining(folder.path()).0, [5]);
}

#[test]
fn keeps_a_snapshot_that_is_being_written() {
    let (folder, store) = store();
    let write = |sequence, run| drop(store.put_group(sequence, run, 3, &rows(&of_group(3, 1))).unwrap());
    // The first snapshot: there is no manifest yet.
    write(1, RUN);
    write(1, OTHER);
    assert_eq!(store.prune(1, None, Depth::Contents).unwrap(), Pruned::default(), "either may be running");
    assert_eq!(store.prune(1, Some(RUN), Depth::Contents).unwrap().files, 1);
    assert_eq!(remaining(folder.path()).1, ["1-1f00c0de"]);
    take(&store, 1, RUN);
    write(2, RUN);
    write(2, OTHER);
    fs::write(folder.path().join("groups/0000000002-1f00c0de-00a.parquet#1"), "half of it").unwrap();
    fs::write(folder.path().join("groups/0000000002-00000007-00a.parquet#1"), "half of it").unwrap();
    assert_eq!(store.prune(1, None, Depth::Contents).unwrap(), Pruned::default());
    assert_eq!(files(folder.path(), "groups").len(), 3 + 4);
    assert_eq!(store.prune(1, Some(RUN), Depth::Contents).unwrap().files, 1);
    assert_eq!(remaining(folder.path()).1, ["1-1f00c0de", "2-1f00c0de"]);
    assert_eq!(files(folder.path(), "groups").len(), 3 + 2);
}

#[test]
fn damaged_snapshots_do_not_count_and_keep_their_files() {
    let (folder, store) = store();
    let taken: Vec<_> = (1..=4).map(|sequence| take(&store, sequence, RUN)).collect();
    // The third has lost a file, the fourth its manifest: the second is the newest sound one.
    fs::remove_file(folder.path().join(&taken[2].groups[0].file)).unwrap();
    fs::write(folder.path().join("manifests/0000000004.json"), "{").unwrap();
    let pruned = store.prune(1, Some(RUN), Depth::Sizes).unwrap();
    assert_eq!((pruned.snapshots, pruned.files), (1, 3));
    assert_eq!(remaining(folder.path()), (vec![2, 3, 4], ["2", "3", "4"].map(|n| format!("{n}-1f00c0de")).to_vec()));
    let found = store.newest().unwrap();
    assert_eq!(found.manifest.as_ref(), Some(&taken[1]));
    assert_eq!(found.damaged.iter().map(|damage| damage.sequence).collect::<Vec<_>>(), [4, 3]);
    // Without a sound snapshot nothing is deleted.
    fs::remove_file(folder.path().join(&taken[1].groups[0].file)).unwrap();
    assert_eq!(store.prune(1, Some(RUN), Depth::Sizes).unwrap(), Pruned::default());
}

#[test]
fn changed_bytes_are_damage_only_if_contents_are_checked() {
    let (folder, store) = store();
    take(&store, 1, RUN);
    let newest = take(&store, 2, RUN);
    let file = folder.path().join(&newest.groups[0].file);
    let mut bytes = fs::read(&file).unwrap();
    bytes[9] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(store.prune(1, None, Depth::Contents).unwrap(), Pruned::default(), "the first is the only sound one");
    assert_eq!(store.prune(1, None, Depth::Sizes).unwrap().snapshots, 1);
}

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use schema::{id64, key_group};
use snapshots::{Depth, Inspected, Interactions, Manifest, RunId, Store, StoreError, codec};
use tempfile::TempDir;

use super::{RUN, few, manifest, of_group, owned, rows, take};

const OTHER: RunId = RunId(7);

pub(super) fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    (folder, store)
}

/// The files under a folder, in order.
pub(super) fn files(folder: &Path, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join(below)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn damages(listed: &Inspected) -> Vec<(String, String)> {
    let name = |file: &str| file.rsplit('/').next().unwrap().to_owned();
    listed.damaged.iter().map(|damage| (name(&damage.file), damage.reason.clone())).collect()
}

#[test]
fn snapshots_round_trip() {
    for name in ["parquet", "records"] {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("a/b c#1/品");
        for uri in [place.to_str().unwrap().to_owned(), url::Url::from_directory_path(&place).unwrap().to_string()] {
            let store = Store::create(&uri).unwrap().with_codec(codec(name).unwrap());
            let next = store.newest().unwrap().next;
            let taken = take(&store, next, RUN);
            assert!(taken.groups.iter().all(|group| group.file.ends_with(&format!(".{name}"))), "{taken:?}");
            // This store writes with the default codec, and still reads these files.
            let store = Store::open(&uri).unwrap();
            let found = store.newest().unwrap();
            assert_eq!((found.manifest.as_ref(), found.damaged.len(), found.next), (Some(&taken), 0, next + 1));
            for group in &found.manifest.unwrap().groups {
                let read = store.read_group(group).unwrap();
                assert_eq!(owned(&read), of_group(group.group, 4));
            }
            assert_eq!(store.manifest(next).unwrap(), taken);
        }
    }
}

#[test]
fn an_empty_store_has_no_snapshot_and_numbers_start_at_1() {
    let (_folder, store) = store();
    let found = store.newest().unwrap();
    assert_eq!((found.manifest, found.damaged.len(), found.next), (None, 0, 1));
    assert!(store.list(Depth::Rows).unwrap().is_empty());
    // A snapshot without rows.
    let empty = store.put_group(1, RUN, 9, &Interactions::default()).unwrap();
    store.publish(&manifest(1, RUN, vec![empty.clone()])).unwrap();
    assert!(store.read_group(&empty).unwrap().is_empty());
    assert!(store.inspect(1, Depth::Rows).unwrap().is_sound());
}

#[test]
fn several_threads_store_groups() {
    let (_folder, store) = store();
    let groups = thread::scope(|scope| {
        let write = |group| store.put_group(1, RUN, group, &rows(&of_group(group, 2))).unwrap();
        let threads: Vec<_> = (0..8).map(|group| scope.spawn(move || write(group))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    store.publish(&manifest(1, RUN, groups)).unwrap();
    assert!(store.list(Depth::Rows).unwrap()[0].is_sound());
}

#[test]
fn rejects_a_second_snapshot_of_the_same_number() {
    let (folder, store) = store();
    let mine = take(&store, 1, RUN);
    let theirs = store.put_group(1, OTHER, 3, &rows(&of_group(3, 1))).unwrap();
    let error = store.publish(&manifest(1, OTHER, vec![theirs])).unwrap_err();
    assert!(matches!(&error, StoreError::Taken { place } if place.ends_with("manifests/0000000001.json")));
    assert!(error.to_string().contains("another run uses this state"), "{error}");
    // The first snapshot is unchanged, and publishing it again succeeds.
    assert_eq!(store.newest().unwrap().manifest, Some(mine.clone()));
    store.publish(&mine).unwrap();
    assert_eq!(files(folder.path(), "manifests").len(), 1);
}

#[test]
fn rejects_an_inconsistent_manifest() {
    let (folder, store) = store();
    let good = take(&store, 1, RUN);
    let wrong = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = Manifest { sequence: 1, ..good.clone() };
        change(&mut manifest);
        store.publish(&manifest).unwrap_err().to_string()
    };
    assert!(wrong(&|manifest| manifest.rows += 1).contains("rows"));
    assert!(wrong(&|manifest| manifest.groups.reverse()).contains("order"));
    assert!(wrong(&|manifest| manifest.groups[0].file = "../../etc/passwd".into()).contains("../../etc/passwd"));
    assert!(wrong(&|manifest| manifest.groups[0].group = 4).contains("for group 4"));
    assert_eq!(files(folder.path(), "manifests").len(), 1);
}

/// Damages a file of the newest of two snapshots in each way.
#[test]
fn reports_a_damaged_snapshot_and_uses_the_one_before() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("missing", |file| fs::remove_file(file).unwrap()),
        ("bytes", |file| fs::write(file, &fs::read(file).unwrap()[..10]).unwrap()),
        ("bytes", |file| fs::write(file, "").unwrap()),
        ("bytes", |file| fs::write(file, [fs::read(file).unwrap(), b"x".to_vec()].concat()).unwrap()),
        ("checksum", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[20] ^= 4;
            fs::write(file, bytes).unwrap();
        }),
    ];
    for (word, harm) in harms {
        let (folder, store) = store();
        let first = take(&store, 1, RUN);
        let second = take(&store, 2, RUN);
        harm(&folder.path().join(&second.groups[1].file));
        let found = store.newest().unwrap();
        assert_eq!((found.manifest.as_ref(), found.next), (Some(&first), 3));
        let [damage] = found.damaged.as_slice() else { panic!("{word}: {:?}", found.damaged) };
        assert!(damage.sequence == 2 && damage.file.ends_with(&second.groups[1].file), "{damage:?}");
        assert!(damage.reason.contains(word), "{damage:?}");
        let error = store.read_group(&second.groups[1]).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { reason, .. } if reason.contains(word)), "{error}");
        // Sizes show all damage but changed bytes.
        assert_eq!(store.inspect(2, Depth::Sizes).unwrap().is_sound(), word == "checksum");
        // Without a sound snapshot all damage is reported.
        fs::remove_file(folder.path().join("manifests/0000000001.json")).unwrap();
        let found = store.newest().unwrap();
        assert_eq!((found.manifest, found.damaged.len(), found.next), (None, 1, 3));
    }
}

#[test]
fn detects_every_flipped_bit_and_truncation_of_a_manifest() {
    let (folder, store) = store();
    let taken = take(&store, 1, RUN);
    let path = folder.path().join("manifests/0000000001.json");
    let good = fs::read(&path).unwrap();
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        match store.manifest(1) {
            Err(StoreError::Damaged { place, .. }) => assert!(place.ends_with("manifests/0000000001.json")),
            // White space after the end.
            Ok(read) => assert_eq!((read, bytes.len() + 1), (taken.clone(), good.len()), "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
    };
    for at in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        check(&bytes, &format!("bit {at}"));
    }
    for length in 0..good.len() {
        check(&good[..length], &format!("cut to {length}"));
    }
    // The manifest of another snapshot under this number.
    fs::write(folder.path().join("manifests/0000000002.json"), &good).unwrap();
    let error = store.manifest(2).unwrap_err().to_string();
    assert!(error.contains("it is of snapshot 1"), "{error}");
}

#[test]
fn a_newer_manifest_is_an_error() {
    let (folder, store) = store();
    take(&store, 1, RUN);
    let text = r#"{"version": 4, "what": "nobody knows yet"}"#;
    let checksum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    let file = format!("{{\"xxh3\":\"{checksum:016x}\",\"manifest\":{text}}}\n");
    fs::write(folder.path().join("manifests/0000000002.json"), file).unwrap();
    let error = store.newest().unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 4, known: 3, .. }));
    assert!(error.to_string().contains("format 4") && error.to_string().contains("0000000002.json"), "{error}");
    assert!(store.prune(1, None, Depth::Sizes).is_err(), "unknown files may be needed");
}

/// Wrong rows under right checksums are found when they are decoded.
#[test]
fn rows_must_match_the_manifest_and_the_group() {
    let (folder, store) = store();
    let mut short = store.put_group(1, RUN, 3, &rows(&of_group(3, 4))).unwrap();
    short.rows = 5;
    let misplaced = store.put_group(1, RUN, 4, &rows(&few())).unwrap();
    assert!(few().iter().all(|row| key_group(id64(&row.0)) != 4));
    let mut noise = store.put_group(1, RUN, 5, &rows(&of_group(5, 1))).unwrap();
    fs::write(folder.path().join(&noise.file), "no Parquet").unwrap();
    (noise.bytes, noise.xxh3) = (10, xxhash_rust::xxh3::xxh3_64(b"no Parquet"));
    store.publish(&manifest(1, RUN, vec![short, misplaced, noise])).unwrap();
    assert!(store.inspect(1, Depth::Contents).unwrap().is_sound());
    let found = damages(&store.inspect(1, Depth::Rows).unwrap());
    assert!(found[0].1.contains("4 rows instead of 5"), "{found:?}");
    assert!(found[1].1.contains("belongs to another group"), "{found:?}");
    assert!(found[2].1.contains("it is damaged: "), "{found:?}");
}

#[test]
fn only_one_store_claims_a_folder() {
    let (folder, mut first) = store();
    first.claim().unwrap();
    let mut second = Store::open(folder.path().to_str().unwrap()).unwrap();
    let error = second.claim().unwrap_err();
    assert!(matches!(&error, StoreError::InUse { place } if place.ends_with("lock")), "{error}");
    // Reading needs no lock.
    take(&first, 1, RUN);
    assert_eq!(second.newest().unwrap().next, 2);
    drop(first);
    second.claim().unwrap();
}

#[test]
fn rejects_a_manifest_with_missing_files() {
    let (folder, store) = store();
    let first = take(&store, 1, RUN);
    let harm: [fn(&Path); 2] = [|file| fs::write(file, "x").unwrap(), |file| fs::remove_file(file).unwrap()];
    for harm in harm {
        harm(&folder.path().join(&first.groups[2].file));
        let error = store.publish(&manifest(2, RUN, first.groups.clone())).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { place, .. } if place.ends_with(&first.groups[2].file)),
            "{error}"
        );
        assert_eq!(files(folder.path(), "manifests").len(), 1);
    }
}

#[test]
fn discard_deletes_only_files_of_the_failed_snapshot() {
    let (folder, store) = store();
    let first = take(&store, 1, RUN);
    store.put_group(2, RUN, 3, &rows(&of_group(3, 1))).unwrap();
    store.put_group(2, RUN, 9, &rows(&of_group(9, 1))).unwrap();
    let theirs = store.put_group(2, OTHER, 3, &rows(&of_group(3, 1))).unwrap();
    store.discard(2, RUN).unwrap();
    let left = files(folder.path(), "groups");
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(store.inspect(1, Depth::Rows).unwrap().is_sound());
    assert!(folder.path().join(theirs.file).exists());
    // In an empty folder there is nothing to delete.
    let empty = TempDir::new().unwrap();
    Store::open(empty.path().to_str().unwrap()).unwrap().discard(1, RUN).unwrap();
    assert_eq!(first.groups.len(), 3);
}

#[test]
fn skips_a_snapshot_that_this_build_cannot_read() {
    let (folder, store) = store();
    let first = take(&store, 1, RUN);
    let mut group = store.put_group(2, RUN, 3, &rows(&of_group(3, 1))).unwrap();
    let other = group.file.replace("parquet", "arrow");
    fs::rename(folder.path().join(&group.file), folder.path().join(&other)).unwrap();
    group.file = other;
    store.publish(&manifest(2, RUN, vec![group])).unwrap();
    let found = store.newest().unwrap();
    assert_eq!((found.manifest, found.next), (Some(first), 3));
    assert!(found.damaged[0].reason.contains("without the codec `arrow`"), "{:?}", found.damaged);
    // A file of another machine, as its header says.
    let records = Store::open(folder.path().to_str().unwrap()).unwrap().with_codec(codec("records").unwrap());
    let mut group = records.put_group(3, RUN, 3, &rows(&of_group(3, 1))).unwrap();
    let path = folder.path().join(&group.file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].reverse();
    group.xxh3 = xxhash_rust::xxh3::xxh3_64(&bytes);
    fs::write(path, bytes).unwrap();
    store.publish(&manifest(3, RUN, vec![group])).unwrap();
    let found = store.newest().unwrap();
    assert!(found.damaged[0].reason.contains("the other byte order"), "{:?}", found.damaged);
}

#[test]
fn prune_deletes_temporary_files_of_killed_writes() {
    let (folder, store) = store();
    take(&store, 1, RUN);
    for name in ["0000000001.json#1", "0000000002.json#1", "notes.json#1"] {
        fs::write(folder.path().join("manifests").join(name), "x").unwrap();
    }
    store.prune(3, None, Depth::Sizes).unwrap();
    let left: Vec<String> = files(folder.path(), "manifests")
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    // Files that may be being written and foreign files stay.
    assert_eq!(left, ["0000000001.json", "0000000002.json#1", "notes.json#1"]);
}

#[test]
fn names_a_codec_that_is_not_built_in() {
    let (folder, store) = store();
    let mut group = store.put_group(1, RUN, 3, &rows(&of_group(3, 1))).unwrap();
    let other = group.file.replace("parquet", "arrow");
    fs::rename(folder.path().join(&group.file), folder.path().join(&other)).unwrap();
    group.file = other;
    let error = store.read_group(&group).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }) && error.to_string().contains("codec `arrow`"), "{error}");
}

#[test]
fn rejects_unusable_uris_with_advice() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let missing = folder.path().join("missing");
    let text = |error: Result<Store, StoreError>, usage: bool| {
        let error = error.err().unwrap();
        assert_eq!(error.is_usage(), usage, "{error}");
        error.to_string()
    };
    for uri in ["", "ftp://host/x", "file://relative", "http://host/x", "memory://"] {
        let message = text(Store::open(uri), true);
        assert!(message.contains(&format!("`{uri}`")) && message.contains("name a folder"), "{message}");
    }
    let message = text(Store::open(missing.to_str().unwrap()), false);
    assert!(message.contains("missing") && message.contains("check the path"), "{message}");
    assert!(!missing.exists());
    for place in [file.clone(), file.join("below")] {
        let message = text(Store::create(place.to_str().unwrap()), false);
        assert!(message.contains("file") && message.contains("where a folder should be"), "{message}");
    }
    if !cfg!(feature = "cloud") {
        assert!(text(Store::open("s3://bucket/x"), true).contains("feature `cloud`"));
    }
}

#[test]
fn an_unwritable_store_is_an_error_with_advice() {
    let (folder, store) = store();
    fs::write(folder.path().join("groups"), "a file").unwrap();
    let error = store.put_group(1, RUN, 3, &rows(&of_group(3, 1))).unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("groups/0000000001-1f00c0de-003.parquet"), "{error}");
    assert!(error.contains("where a folder should be"), "{error}");
}

/// The process may not write files above 16 KiB, so a write fails in the middle of a file.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_fails_half_way_leaves_no_file() {
    const FOLDER: &str = "DELTAREC_TEST_SMALL_FILES";
    if let Ok(folder) = std::env::var(FOLDER) {
        let store = Store::open(&folder).unwrap().with_codec(codec("records").unwrap());
        store.put_group(1, RUN, 3, &rows(&of_group(3, 4))).unwrap();
        let error = store.put_group(1, RUN, 4, &rows(&of_group(4, 2_000))).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("ulimit -f"), "{error}");
        return;
    }
    let folder = TempDir::new().unwrap();
    let test = std::env::current_exe().unwrap();
    let limited = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" --exact \"$1\" >&2", test.to_str().unwrap()])
        .arg("store::a_write_that_fails_half_way_leaves_no_file")
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
    let left = files(folder.path(), "groups");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with("0000000001-1f00c0de-003.records"));
}

/// Files of version 0.1.0: those without any room have no column for it.
#[test]
fn reads_snapshots_of_earlier_versions() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/version_0_1");
    let store = Store::open(folder.to_str().unwrap()).unwrap();
    let found = store.list(Depth::Rows).unwrap();
    assert!(found.len() == 1 && found[0].is_sound(), "{found:?}");
    let groups = &found[0].manifest.as_ref().unwrap().groups;
    let rows: Vec<_> = groups.iter().map(|group| store.read_group(group).unwrap()).collect();
    let rooms: Vec<_> = rows.iter().flat_map(Interactions::iter).map(|row| (row.user, row.room)).collect();
    assert_eq!(rooms.len(), 8);
    assert!(rooms.contains(&("u1", Some("r1"))) && rooms.contains(&("u2", None)), "{rooms:?}");
}

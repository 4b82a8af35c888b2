//! Whatever lies in a store: a start uses the newest sound snapshot and names what it passes over, or it refuses.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use snapshots::{Depth, Missing, Store, StoreError};

use super::store::store;
use super::{RUN, manifest, take};

/// The largest number that a snapshot can have.
const MAX_SEQUENCE: u64 = (1 << 53) - 1;

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

type Harm = fn(&Path);

/// Each case changes a store with the snapshots 1 and 2: what it does, the snapshot that is used then, the number of the
/// next, and a part of what is passed over.
const CASES: &[(&str, Harm, Option<u64>, u64, &str)] = &[
    ("nothing", |_| {}, Some(2), 3, ""),
    (
        "a folder as manifest",
        |folder| fs::create_dir(folder.join("manifests/0000000003.json")).unwrap(),
        Some(2),
        4,
        "3: it is a folder and not a file",
    ),
    (
        "a folder with a file",
        |folder| {
            fs::create_dir(folder.join("manifests/0000000003.json")).unwrap();
            fs::write(folder.join("manifests/0000000003.json/0000000009.json"), "x").unwrap();
        },
        Some(2),
        4,
        "3: it is a folder",
    ),
    (
        "a link to nothing",
        |folder| symlink("nowhere", folder.join("manifests/0000000003.json")).unwrap(),
        Some(2),
        4,
        "3: it is a link that leads nowhere",
    ),
    (
        "a link to itself",
        |folder| symlink("0000000003.json", folder.join("manifests/0000000003.json")).unwrap(),
        Some(2),
        4,
        "3: it is a link that leads nowhere",
    ),
    (
        "a link to its folder",
        |folder| symlink(".", folder.join("manifests/0000000003.json")).unwrap(),
        Some(2),
        4,
        "3: it is a folder",
    ),
    ("a pipe", |folder| pipe(&folder.join("manifests/0000000003.json")), Some(2), 4, "3: it is a pipe"),
    (
        "an empty manifest",
        |folder| fs::write(folder.join("manifests/0000000003.json"), "").unwrap(),
        Some(2),
        4,
        "3: it is not a manifest",
    ),
    (
        "another snapshot's manifest",
        |folder| {
            fs::copy(folder.join("manifests/0000000002.json"), folder.join("manifests/0000000003.json")).unwrap();
        },
        Some(2),
        4,
        "3: it is of snapshot 2",
    ),
    (
        "a large number",
        |folder| fs::write(folder.join("manifests/18446744073709551615.json"), "").unwrap(),
        Some(2),
        3,
        "18446744073709551615.json",
    ),
    (
        "a number beyond 64 bits",
        |folder| fs::write(folder.join("manifests/99999999999999999999999.json"), "").unwrap(),
        Some(2),
        3,
        "99999999999999999999999.json",
    ),
    ("few zeros", |folder| fs::write(folder.join("manifests/3.json"), "").unwrap(), Some(2), 3, "manifests/3.json"),
    (
        "many zeros",
        |folder| fs::write(folder.join("manifests/00000000000003.json"), "").unwrap(),
        Some(2),
        3,
        "00000000000003.json",
    ),
    (
        "other files",
        |folder| {
            for name in ["notes.txt", ".json", "-1.json", "0000000003.json.bak", "a%2Fb", "x#1", "..."] {
                fs::write(folder.join("manifests").join(name), "x").unwrap();
                fs::write(folder.join("groups").join(name), "x").unwrap();
                fs::write(folder.join(name), "x").unwrap();
            }
            fs::create_dir_all(folder.join("groups/a/b/c")).unwrap();
            pipe(&folder.join("groups/pipe"));
            symlink("..", folder.join("groups/up")).unwrap();
        },
        Some(2),
        3,
        "",
    ),
    (
        "names that are not UTF-8",
        |folder| {
            for part in ["", "manifests", "groups"] {
                fs::write(folder.join(part).join(OsStr::from_bytes(b"\xff\xfe.json")), "x").unwrap();
            }
        },
        Some(2),
        3,
        "",
    ),
    (
        "a folder as group file",
        |folder| {
            let file = first_group(folder);
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
        },
        Some(1),
        3,
        "2: it is a folder and not a file",
    ),
    (
        "a pipe as group file",
        |folder| {
            let file = first_group(folder);
            fs::remove_file(&file).unwrap();
            pipe(&file);
        },
        Some(1),
        3,
        "2: it is a pipe",
    ),
    (
        "a linked group file",
        |folder| {
            let file = first_group(folder);
            fs::rename(&file, folder.join("elsewhere")).unwrap();
            symlink("../elsewhere", &file).unwrap();
        },
        Some(2),
        3,
        "",
    ),
    ("no manifest", |folder| fs::remove_dir_all(folder.join("manifests")).unwrap(), None, 3, ""),
    ("no group", |folder| fs::remove_dir_all(folder.join("groups")).unwrap(), None, 3, ": it is missing"),
    (
        "a huge manifest",
        |folder| {
            let file = fs::File::create(folder.join("manifests/0000000003.json")).unwrap();
            file.set_len(1 << 42).unwrap();
        },
        Some(2),
        4,
        "too many for a manifest",
    ),
    (
        "a huge group file",
        |folder| {
            fs::OpenOptions::new().write(true).open(first_group(folder)).unwrap().set_len(1 << 42).unwrap();
        },
        Some(1),
        3,
        "2: it has 4398046511104 bytes instead of",
    ),
];

/// A group file that only snapshot 2 has.
fn first_group(folder: &Path) -> std::path::PathBuf {
    super::store::files(folder, "groups")
        .into_iter()
        .find(|file| file.file_name().unwrap().to_str().unwrap().starts_with("0000000002-"))
        .unwrap()
}

#[test]
fn a_start_uses_the_newest_sound_snapshot_and_names_the_rest() {
    for (what, harm, used, next, named) in CASES {
        let (folder, store) = store();
        take(&store, 1, RUN);
        take(&store, 2, RUN);
        harm(folder.path());
        let found = store.newest().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((found.manifest.as_ref().map(|found| found.sequence), found.next), (*used, *next), "{what}");
        let damaged = found.damaged.iter().map(|damage| format!("{}: {}", damage.sequence, damage.reason));
        let passed_over: Vec<String> = damaged.chain(found.ignored).collect();
        assert_eq!(passed_over.is_empty(), named.is_empty(), "{what}: {passed_over:?}");
        assert!(passed_over.iter().all(|line| line.contains(named)), "{what}: {passed_over:?}");
        // Another run's snapshots come next, and old ones are deleted.
        let uri = folder.path().to_str().unwrap();
        let store = Store::create(uri).unwrap();
        for sequence in *next..next + 3 {
            take(&store, sequence, RUN);
            store.prune(2, None, Depth::Sizes).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        let found = store.newest().unwrap();
        let newest = found.manifest.map(|found| found.sequence);
        assert_eq!((newest, found.damaged.len()), (Some(next + 2), 0), "{what}");
    }
}

/// What the owner has to repair is an error that names it.
#[test]
fn a_start_refuses_what_it_cannot_pass_over() {
    let cases: &[(Harm, &[&str])] = &[
        (
            |folder| fs::write(folder.join("manifests"), "x").unwrap(),
            &["manifests", "a file is where a folder should be"],
        ),
        (|folder| symlink("nowhere", folder.join("manifests")).unwrap(), &["manifests", "move it away"]),
        (|folder| pipe(&folder.join("groups")), &["groups", "a file is where a folder should be"]),
        (|folder| fs::create_dir(folder.join("lock")).unwrap(), &["lock", "move it away"]),
        (|folder| pipe(&folder.join("lock")), &["lock", "move it away"]),
        (|folder| symlink("/etc/passwd", folder.join("lock")).unwrap(), &["lock", "move it away"]),
        (
            |folder| {
                fs::create_dir(folder.join("manifests")).unwrap();
                fs::write(folder.join(format!("manifests/{MAX_SEQUENCE}.json")), "").unwrap();
            },
            &["9007199254740991.json", "move this manifest"],
        ),
    ];
    for (harm, parts) in cases {
        let folder = tempfile::TempDir::new().unwrap();
        harm(folder.path());
        let start = || -> Result<(), StoreError> {
            let mut store = Store::create(folder.path().to_str().unwrap())?;
            store.claim()?;
            store.newest().map(|_| ())
        };
        let error = start().unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    }
    let mut too_high = manifest(1, RUN, vec![]);
    too_high.sequence = MAX_SEQUENCE + 1;
    assert!(matches!(store().1.publish(&too_high), Err(StoreError::Unwritable { .. })));
}

#[test]
fn a_hundred_thousand_files_are_passed_over() {
    let (folder, store) = store();
    take(&store, 1, RUN);
    for n in 0..50_000 {
        fs::write(folder.path().join(format!("manifests/{n}.json")), "").unwrap();
        fs::write(folder.path().join(format!("groups/other{n}")), "").unwrap();
    }
    let found = store.newest().unwrap();
    assert_eq!((found.manifest.map(|found| found.sequence), found.next, found.ignored.len()), (Some(1), 2, 50_000));
}

#[test]
fn a_lost_manifest_is_noticed() {
    let (folder, mut store) = store();
    store.claim().unwrap();
    take(&store, 1, RUN);
    take(&store, 2, RUN);
    assert_eq!(store.newest().unwrap().missing, None);
    // A snapshot that is being taken.
    store.put_group(3, RUN, 3, &super::rows(&super::of_group(3, 1))).unwrap();
    assert_eq!(store.newest().unwrap().missing, Some(Missing { sequence: 3, was_published: false }));
    store.discard(3, RUN).unwrap();
    fs::remove_file(folder.path().join("manifests/0000000002.json")).unwrap();
    assert_eq!(store.newest().unwrap().missing, Some(Missing { sequence: 2, was_published: true }));
    // Without the lock's word only the group files tell.
    for noise in ["", "x", "18446744073709551615\n"] {
        fs::write(folder.path().join("lock"), noise).unwrap();
        assert_eq!(store.newest().unwrap().missing, Some(Missing { sequence: 2, was_published: false }));
    }
    // Nothing stays of a longer text.
    fs::write(folder.path().join("lock"), "184467440737095516150000000000\nmore\n").unwrap();
    take(&store, 3, RUN);
    assert_eq!(fs::read_to_string(folder.path().join("lock")).unwrap(), "0000000003\n");
}

#[test]
fn a_state_is_its_owners_alone() {
    let root = tempfile::TempDir::new().unwrap();
    let state = root.path().join("new/state");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let take_one = |sequence| {
        let mut store = Store::create(state.to_str().unwrap()).unwrap();
        store.claim().unwrap();
        take(&store, sequence, RUN)
    };
    let taken = take_one(1);
    let parts = ["manifests", "groups", "catalogue", "controls"].map(|part| state.join(part));
    let folders = [[state.clone()].as_slice(), &parts].concat();
    let files = [state.join("lock"), state.join("manifests/0000000001.json"), state.join(&taken.groups[0].file)];
    let check = || {
        assert!(folders.iter().all(|folder| mode(folder) == 0o700));
        assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 3]);
    };
    check();
    // A state of an earlier version: its folders are closed, which closes the files in them.
    for folder in &parts {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&files[0], fs::Permissions::from_mode(0o644)).unwrap();
    take_one(2);
    check();
}

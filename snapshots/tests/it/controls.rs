//! The controls in a snapshot: their files come back as they were, or the damage is reported, as for the catalogue.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::collection::vec;
use proptest::prelude::*;
use schema::{KEY_GROUPS, MAX_TS, id64, key_group};
use snapshots::{Depth, GroupFile, Kind, Manifest, Missing, RunId, StatementRows, Store, StoreError, codec};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::catalogue::{Row, any_statements, owned, statements};
use super::fuzz::{edited, edits, reseal};
use super::store::{files, store};
use super::{RUN, manifest, of_group, rows, take};

/// Controls of users of one group.
fn of_users(group: u8, users: usize) -> Vec<Row> {
    let names = (0..).map(|n| format!("u{n}")).filter(|user| key_group(id64(user)) == group);
    let controls = [
        ("not_interested host", Some("{\"target\":\"h\\\"品\",\"on\":true}")),
        ("forget", Some("\"bread\"")),
        ("pause", None),
    ];
    let row = |user: &str, n: u64| {
        let (control, value) = controls[n as usize];
        (user.to_owned(), control.to_owned(), 1_763_900_000_000 + n, value.map(str::to_owned))
    };
    names.take(users).flat_map(|user| (0..3).map(move |n| row(&user, n))).collect()
}

/// A manifest with these files and the version that belongs to them.
fn with_controls(manifest: Manifest, controls: Vec<GroupFile>) -> Manifest {
    Manifest { version: Manifest::VERSION, controls, ..manifest }
}

/// Takes a snapshot of three groups of users, and of the controls of two.
pub(super) fn take_with_controls(store: &Store, sequence: u64, run: RunId) -> Manifest {
    let groups = [3, 77, 255].map(|group| store.put_group(sequence, run, group, &rows(&of_group(group, 4))).unwrap());
    let controls =
        [3, 200].map(|group| store.put_controls(sequence, run, group, &statements(&of_users(group, 2))).unwrap());
    let manifest = with_controls(manifest(sequence, run, groups.into()), controls.into());
    store.publish(&manifest).unwrap();
    manifest
}

/// Stores these bytes as a file of controls, under right checksums, and reads it.
fn read_bytes(folder: &Path, store: &Store, bytes: &[u8], rows: usize) -> Result<StatementRows, StoreError> {
    let file = GroupFile {
        group: 0,
        file: "controls/0000000001-1f00c0de-000.parquet".into(),
        rows: rows as u64,
        bytes: bytes.len() as u64,
        xxh3: xxh3_64(bytes),
    };
    fs::create_dir_all(folder.join("controls")).unwrap();
    fs::write(folder.join(&file.file), bytes).unwrap();
    store.read_controls(&file)
}

fn encoded(folder: &Path, store: &Store, given: &[Row]) -> Vec<u8> {
    let file = store.put_controls(1, RUN, 0, &statements(given)).unwrap();
    fs::read(folder.join(file.file)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn controls_round_trip(given in any_statements(60)) {
        let (_folder, store) = store();
        let store = store.with_any_ids();
        let file = store.put_controls(1, RUN, 200, &statements(&given)).unwrap();
        prop_assert_eq!(file.rows, given.len() as u64);
        prop_assert_eq!(owned(&store.read_controls(&file).unwrap()), given);
    }

    #[test]
    fn any_bytes_are_an_error_or_controls(
        given in any_statements(8),
        noise in vec(any::<u8>(), 0..300),
        edits in edits(),
    ) {
        let (folder, store) = store();
        let store = store.with_any_ids();
        let good = encoded(folder.path(), &store, &given);
        let mut resealed = edited(good.clone(), &edits);
        reseal("parquet", &mut resealed);
        for file in [noise, edited(good.clone(), &edits), resealed] {
            let Ok(read) = read_bytes(folder.path(), &store, &file, given.len()) else { continue };
            if file == good {
                prop_assert_eq!(owned(&read), given.clone());
            }
            for (user, _, ts, _) in owned(&read) {
                prop_assert!((1..=512).contains(&user.len()) && ts <= MAX_TS);
            }
        }
    }
}

#[test]
fn every_flipped_bit_and_truncation_of_a_file_is_detected() {
    let (folder, store) = store();
    let given = of_users(0, 1);
    let good = encoded(folder.path(), &store, &given);
    assert_eq!(owned(&read_bytes(folder.path(), &store, &good, 3).unwrap()), given);
    let assert_rejected = |file: &[u8], what: &str| {
        let read = read_bytes(folder.path(), &store, file, 3);
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{what}: {read:?}");
    };
    for at in 0..good.len() * 8 {
        let mut file = good.clone();
        file[at / 8] ^= 1 << (at % 8);
        assert_rejected(&file, &format!("bit {at}"));
    }
    for length in 0..good.len() {
        assert_rejected(&good[..length], &format!("cut to {length}"));
    }
    assert_rejected(&[good.as_slice(), b"\0"].concat(), "one byte more");
}

/// Uses the generic reader of the `parquet` crate.
#[test]
fn generic_readers_find_the_columns() {
    let (folder, store) = store();
    let file = Bytes::from(encoded(folder.path(), &store, &of_users(0, 2)));
    let reader = SerializedFileReader::new(file).unwrap();
    let mut schema = Vec::new();
    parquet::schema::printer::print_schema(&mut schema, reader.metadata().file_metadata().schema());
    assert_eq!(
        String::from_utf8(schema).unwrap(),
        "message controls {\n  REQUIRED BYTE_ARRAY user (STRING);\n  REQUIRED BYTE_ARRAY control (STRING);\n  \
         REQUIRED INT64 ts (TIMESTAMP(MILLIS,true));\n  OPTIONAL BYTE_ARRAY value (STRING);\n}\n"
    );
    assert_eq!(reader.get_row_iter(None).unwrap().count(), 6);
}

#[test]
fn a_file_is_in_parquet_whatever_the_codec_of_the_state() {
    for name in ["parquet", "records"] {
        let folder = TempDir::new().unwrap();
        let uri = folder.path().to_str().unwrap();
        let store = Store::create(uri).unwrap().with_codec(codec(name).unwrap());
        let taken = take_with_controls(&store, 1, RUN);
        assert!(taken.groups.iter().all(|file| file.file.ends_with(&format!(".{name}"))), "{taken:?}");
        assert!(taken.controls.iter().all(|file| file.file.ends_with(".parquet")), "{taken:?}");
        assert_eq!((taken.control_count(), taken.statements(), taken.rows, taken.files().count()), (12, 0, 12, 5));
        assert_eq!(taken.bytes(), taken.files().map(|file| file.bytes).sum::<u64>());
        let store = Store::open(uri).unwrap();
        assert_eq!(store.newest().unwrap().manifest.as_ref(), Some(&taken));
        assert!(store.list(Depth::Rows).unwrap()[0].is_sound());
        for file in &taken.controls {
            assert_eq!(owned(&store.read_controls(file).unwrap()), of_users(file.group, 2));
        }
        // Files of one kind are not rows of another, although two kinds have four texts.
        let foreign = |read: Result<_, StoreError>| matches!(read, Err(StoreError::Foreign { .. }));
        assert!(foreign(store.read_group(&taken.controls[0]).map(|_| ())));
        assert!(foreign(store.read_catalogue(&taken.controls[0]).map(|_| ())));
        let catalogue = store.put_catalogue(1, RUN, 3, &statements(&of_users(3, 1))).unwrap();
        assert!(foreign(store.read_controls(&catalogue).map(|_| ())));
        assert!(store.read_controls(&taken.groups[0]).is_err());
    }
    assert_eq!(Kind::Controls.groups(), KEY_GROUPS);
}

/// Damages a file of controls in the newest of two snapshots in each way.
#[test]
fn damaged_controls_are_reported_and_the_snapshot_before_is_used() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("missing", |file| fs::remove_file(file).unwrap()),
        ("bytes", |file| fs::write(file, &fs::read(file).unwrap()[..10]).unwrap()),
        ("folder", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("checksum", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[20] ^= 4;
            fs::write(file, bytes).unwrap();
        }),
    ];
    for (word, harm) in harms {
        let (folder, store) = store();
        let first = take_with_controls(&store, 1, RUN);
        let second = take_with_controls(&store, 2, RUN);
        harm(&folder.path().join(&second.controls[1].file));
        let found = store.newest().unwrap();
        assert_eq!((found.manifest.as_ref(), found.next), (Some(&first), 3));
        let [damage] = found.damaged.as_slice() else { panic!("{word}: {:?}", found.damaged) };
        assert!(damage.file.ends_with(&second.controls[1].file) && damage.reason.contains(word), "{damage:?}");
        assert!(store.read_controls(&second.controls[1]).is_err());
        assert_eq!(store.inspect(2, Depth::Sizes).unwrap().is_sound(), word == "checksum");
        // It is not published again either.
        let again = with_controls(manifest(3, RUN, second.groups.clone()), second.controls.clone());
        assert_eq!(store.publish(&again).is_ok(), word == "checksum", "{word}");
    }
}

/// Wrong rows under right checksums are found when they are decoded.
#[test]
fn controls_must_match_the_manifest_and_the_group() {
    let (_folder, store) = store();
    let mut short = store.put_controls(1, RUN, 0, &statements(&of_users(0, 1))).unwrap();
    short.rows = 4;
    let misplaced = store.put_controls(1, RUN, 1, &statements(&of_users(2, 1))).unwrap();
    store.publish(&with_controls(manifest(1, RUN, vec![]), vec![short, misplaced.clone()])).unwrap();
    assert!(store.inspect(1, Depth::Contents).unwrap().is_sound());
    let found = store.inspect(1, Depth::Rows).unwrap().damaged;
    assert!(found[0].reason.contains("3 rows instead of 4"), "{found:?}");
    assert!(found[1].reason.contains("user `u") && found[1].reason.contains("belongs to another group"), "{found:?}");
    // Without knowing the ids, groups are not checked.
    assert!(store.with_any_ids().read_controls(&misplaced).is_ok());
}

#[test]
fn only_a_manifest_with_controls_has_the_version_of_them() {
    let (folder, store) = store();
    let good = take_with_controls(&store, 1, RUN);
    let wrong = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        store.publish(&manifest).unwrap_err().to_string()
    };
    for version in [1, Manifest::VERSION_WITHOUT_CONTROLS] {
        let words = format!("it has controls and is of version {version}");
        assert!(wrong(&|manifest| manifest.version = version).contains(&words));
    }
    assert!(wrong(&|manifest| manifest.controls.reverse()).contains("order"));
    let group = |manifest: &Manifest| manifest.groups[0].file.clone();
    assert!(wrong(&|manifest| manifest.controls[0].file = group(manifest)).contains("of the controls"));
    assert!(wrong(&|manifest| manifest.controls[0].group = 4).contains("for group 4"));
    assert!(
        wrong(&|manifest| manifest.controls.iter_mut().for_each(|file| file.rows = u64::MAX)).contains("more controls")
    );
    assert!(wrong(&|manifest| manifest.controls[0].bytes = u64::MAX).contains("larger than any store"));
    // What a program sees that knows version 2 only.
    let text = |sequence| fs::read_to_string(folder.path().join(format!("manifests/{sequence:010}.json"))).unwrap();
    assert!(text(1).contains("\"version\": 3") && text(1).contains("\"controls\": ["), "{}", text(1));
    // Such a program can still read a snapshot without controls.
    take(&store, 2, RUN);
    assert!(text(2).contains("\"version\": 2") && !text(2).contains("controls"), "{}", text(2));
}

#[test]
fn files_of_controls_are_pruned_like_others() {
    let (folder, store) = store();
    for sequence in 1..=3 {
        take_with_controls(&store, sequence, RUN);
    }
    // The newest names a file of the second, as its group has not changed.
    let second = store.manifest(2).unwrap();
    let newest = with_controls(manifest(4, RUN, second.groups.clone()), second.controls[..1].to_vec());
    store.publish(&newest).unwrap();
    store.put_controls(4, RunId(7), 3, &statements(&of_users(3, 1))).unwrap();
    store.put_controls(5, RUN, 3, &statements(&of_users(3, 1))).unwrap();
    fs::write(folder.path().join("controls/0000000001-1f00c0de-00a.parquet#1"), "x").unwrap();
    assert_eq!(store.newest().unwrap().missing, Some(Missing { sequence: 5, was_published: false }));
    let pruned = store.prune(1, None, Depth::Rows).unwrap();
    // Two snapshots with five files each, one file that the newest does not name, and one of another run.
    assert_eq!((pruned.snapshots, pruned.files), (3, 2 * 5 + 1 + 1));
    let left = || -> Vec<String> {
        let name = |file: &std::path::PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        files(folder.path(), "controls").iter().map(name).collect()
    };
    assert_eq!(left(), ["0000000002-1f00c0de-003.parquet", "0000000005-1f00c0de-003.parquet"]);
    assert!(store.inspect(4, Depth::Rows).unwrap().is_sound());
    // Those of a snapshot that failed.
    store.discard(5, RUN).unwrap();
    assert_eq!(left(), ["0000000002-1f00c0de-003.parquet"]);
    // A run without controls.
    take(&store, 5, RUN);
    store.prune(1, None, Depth::Rows).unwrap();
    assert!(left().is_empty());
}

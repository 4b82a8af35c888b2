//! The catalogue in a snapshot: its files come back as they were, or the damage is reported, as for interactions.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use proptest::collection::vec;
use proptest::prelude::*;
use schema::{CATALOGUE_GROUPS, IdKey, MAX_TS, catalogue_group, id64};
use snapshots::{Depth, GroupFile, Kind, Manifest, Missing, RunId, StatementRows, Store, StoreError, codec};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::fuzz::{edited, edits, reseal};
use super::store::{files, store};
use super::{RUN, manifest, of_group, rows, take};

/// A row that owns its texts: owner, field, time, value.
pub(super) type Row = (String, String, u64, Option<String>);

pub(super) fn statements(rows: &[Row]) -> StatementRows {
    let mut statements = StatementRows::default();
    for (owner, field, ts, value) in rows {
        statements.push(owner, field, *ts, value.as_deref());
    }
    statements
}

pub(super) fn owned(rows: &StatementRows) -> Vec<Row> {
    rows.iter().map(|row| (row.owner.to_owned(), row.field.to_owned(), row.ts, row.value.map(str::to_owned))).collect()
}

/// Statements of items of one group.
fn of_items(group: u8, items: usize) -> Vec<Row> {
    let names = (0..).map(|n| format!("p{n}")).filter(|item| catalogue_group(id64(item)) == group);
    let fields = [
        ("first", None),
        ("title", Some("\"Rye bread \\\"品\\\"\"")),
        ("tags:visual", Some("[\"a\",\"b\"]")),
        ("brand", None),
    ];
    let statement = |item: &str, n: u64| {
        let (field, value) = fields[n as usize];
        (item.to_owned(), field.to_owned(), 1_763_900_000_000 + n, value.map(str::to_owned))
    };
    names.take(items).flat_map(|item| (0..4).map(move |n| statement(&item, n))).collect()
}

pub(super) fn any_statements(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let item = prop_oneof!["[a-c]", "\\PC{1,20}", "x{512}", "品{1,170}"];
    let field = prop_oneof!["title", "tags:[a-c]", ".{0,40}"];
    let value = prop::option::of(prop_oneof!["", "\"[a-c]\"", ".{0,40}", "x{4096}"]);
    vec((item, field, prop_oneof![0..=MAX_TS, 0..5_u64], value), 0..most)
}

/// Takes a snapshot of three groups of users and of two of items.
pub(super) fn take_with_catalogue(store: &Store, sequence: u64, run: RunId) -> Manifest {
    let groups = [3, 77, 255].map(|group| store.put_group(sequence, run, group, &rows(&of_group(group, 4))).unwrap());
    let catalogue =
        [0, 15].map(|group| store.put_catalogue(sequence, run, group, &statements(&of_items(group, 3))).unwrap());
    let manifest = with_catalogue(manifest(sequence, run, groups.into()), catalogue.into());
    store.publish(&manifest).unwrap();
    manifest
}

fn with_catalogue(manifest: Manifest, catalogue: Vec<GroupFile>) -> Manifest {
    Manifest { catalogue, ..manifest }
}

/// Stores these bytes as a file of the catalogue, under right checksums, and reads it.
fn read_bytes(folder: &Path, store: &Store, bytes: &[u8], rows: usize) -> Result<StatementRows, StoreError> {
    let file = GroupFile {
        group: 0,
        file: "catalogue/0000000001-1f00c0de-000.parquet".into(),
        rows: rows as u64,
        bytes: bytes.len() as u64,
        xxh3: xxh3_64(bytes),
    };
    fs::create_dir_all(folder.join("catalogue")).unwrap();
    fs::write(folder.join(&file.file), bytes).unwrap();
    store.read_catalogue(&file)
}

fn encoded(folder: &Path, store: &Store, given: &[Row]) -> Vec<u8> {
    let file = store.put_catalogue(1, RUN, 0, &statements(given)).unwrap();
    fs::read(folder.join(file.file)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn statements_round_trip(given in any_statements(60)) {
        let (_folder, store) = store();
        let store = store.with_any_ids();
        prop_assert_eq!(&owned(&statements(&given)), &given);
        let file = store.put_catalogue(1, RUN, 7, &statements(&given)).unwrap();
        prop_assert_eq!(file.rows, given.len() as u64);
        let read = store.read_catalogue(&file).unwrap();
        prop_assert_eq!(owned(&read), given);
    }

    #[test]
    fn any_bytes_are_an_error_or_statements(
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
            for (item, _, ts, _) in owned(&read) {
                prop_assert!((1..=512).contains(&item.len()) && ts <= MAX_TS);
            }
        }
    }
}

/// More rows than a row group has.
#[test]
fn many_statements_round_trip() {
    let (_folder, store) = store();
    let store = store.with_any_ids();
    let mut given = StatementRows::default();
    for n in 0..1_100_000_u64 {
        let value = format!("\"{}\"", n % 1_000);
        given.push(&format!("p{}", n / 9), "title", n, (n % 3 > 0).then_some(value.as_str()));
    }
    assert_eq!((given.len(), given.owners().len()), (1_100_000, 1_100_000 / 9 + 1));
    let file = store.put_catalogue(1, RUN, 7, &given).unwrap();
    assert!(store.read_catalogue(&file).unwrap() == given);
}

#[test]
fn every_flipped_bit_and_truncation_of_a_file_is_detected() {
    let (folder, store) = store();
    let given = of_items(0, 1);
    let good = encoded(folder.path(), &store, &given);
    assert_eq!(owned(&read_bytes(folder.path(), &store, &good, 4).unwrap()), given);
    let assert_rejected = |file: &[u8], what: &str| {
        let read = read_bytes(folder.path(), &store, file, 4);
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
fn generic_readers_read_the_files() {
    let (folder, store) = store();
    let given = of_items(0, 2);
    let file = Bytes::from(encoded(folder.path(), &store, &given));
    let reader = SerializedFileReader::new(file).unwrap();
    let mut schema = Vec::new();
    parquet::schema::printer::print_schema(&mut schema, reader.metadata().file_metadata().schema());
    assert_eq!(
        String::from_utf8(schema).unwrap(),
        "message catalogue {\n  REQUIRED BYTE_ARRAY item (STRING);\n  REQUIRED BYTE_ARRAY field (STRING);\n  \
         REQUIRED INT64 ts (TIMESTAMP(MILLIS,true));\n  OPTIONAL BYTE_ARRAY value (STRING);\n}\n"
    );
    let read = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let ts = u64::try_from(row.get_timestamp_millis(2).unwrap()).unwrap();
        let value = row.get_string(3).ok().cloned();
        (row.get_string(0).unwrap().clone(), row.get_string(1).unwrap().clone(), ts, value)
    });
    assert_eq!(read.collect::<Vec<_>>(), given);
}

#[test]
fn a_file_is_in_parquet_whatever_the_codec_of_the_state() {
    for name in ["parquet", "records"] {
        let folder = TempDir::new().unwrap();
        let uri = folder.path().to_str().unwrap();
        let store = Store::create(uri).unwrap().with_codec(codec(name).unwrap());
        let taken = take_with_catalogue(&store, 1, RUN);
        assert!(taken.groups.iter().all(|file| file.file.ends_with(&format!(".{name}"))), "{taken:?}");
        assert!(taken.catalogue.iter().all(|file| file.file.ends_with(".parquet")), "{taken:?}");
        assert_eq!((taken.statements(), taken.rows, taken.files().count()), (24, 12, 5));
        assert_eq!(taken.bytes(), taken.files().map(|file| file.bytes).sum::<u64>());
        let store = Store::open(uri).unwrap();
        assert_eq!(store.newest().unwrap().manifest.as_ref(), Some(&taken));
        assert!(store.list(Depth::Rows).unwrap()[0].is_sound());
        for file in &taken.catalogue {
            assert_eq!(owned(&store.read_catalogue(file).unwrap()), of_items(file.group, 3));
        }
        // Files of one kind are not rows of the other.
        assert!(matches!(store.read_group(&taken.catalogue[0]), Err(StoreError::Foreign { .. })));
        assert!(store.read_catalogue(&taken.groups[0]).is_err());
    }
    assert_eq!(Kind::Catalogue.groups(), CATALOGUE_GROUPS);
}

/// Damages a file of the catalogue in the newest of two snapshots in each way.
#[test]
fn a_damaged_catalogue_is_reported_and_the_snapshot_before_is_used() {
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
        let first = take_with_catalogue(&store, 1, RUN);
        let second = take_with_catalogue(&store, 2, RUN);
        harm(&folder.path().join(&second.catalogue[1].file));
        let found = store.newest().unwrap();
        assert_eq!((found.manifest.as_ref(), found.next), (Some(&first), 3));
        let [damage] = found.damaged.as_slice() else { panic!("{word}: {:?}", found.damaged) };
        assert!(damage.file.ends_with(&second.catalogue[1].file) && damage.reason.contains(word), "{damage:?}");
        assert!(matches!(
            store.read_catalogue(&second.catalogue[1]),
            Err(StoreError::Damaged { .. } | StoreError::Access { .. })
        ));
        assert_eq!(store.inspect(2, Depth::Sizes).unwrap().is_sound(), word == "checksum");
        // It is not published again either.
        let again = with_catalogue(manifest(3, RUN, second.groups.clone()), second.catalogue.clone());
        assert_eq!(store.publish(&again).is_ok(), word == "checksum", "{word}");
    }
}

/// Wrong rows under right checksums are found when they are decoded.
#[test]
fn statements_must_match_the_manifest_and_the_group() {
    let (folder, store) = store();
    let mut short = store.put_catalogue(1, RUN, 0, &statements(&of_items(0, 1))).unwrap();
    short.rows = 5;
    let misplaced = store.put_catalogue(1, RUN, 1, &statements(&of_items(2, 1))).unwrap();
    let mut noise = store.put_catalogue(1, RUN, 3, &statements(&of_items(3, 1))).unwrap();
    fs::write(folder.path().join(&noise.file), "no Parquet").unwrap();
    (noise.bytes, noise.xxh3) = (10, xxh3_64(b"no Parquet"));
    let key = IdKey::new(b"0123456789abcdef").unwrap();
    store.publish(&with_catalogue(manifest(1, RUN, vec![]), vec![short, misplaced.clone(), noise])).unwrap();
    assert!(store.inspect(1, Depth::Contents).unwrap().is_sound());
    let found = store.inspect(1, Depth::Rows).unwrap().damaged;
    assert!(found[0].reason.contains("4 rows instead of 5"), "{found:?}");
    assert!(found[1].reason.contains("item `p") && found[1].reason.contains("belongs to another group"), "{found:?}");
    assert!(found[2].reason.contains("it is damaged: "), "{found:?}");
    // Without knowing the ids, groups are not checked; by another key nothing of the manifest is.
    let store = store.with_any_ids();
    assert!(store.read_catalogue(&misplaced).is_ok());
    let store = store.with_ids(key);
    assert!(
        !store.inspect(1, Depth::Rows).unwrap().damaged.iter().any(|damage| damage.reason.contains("another group"))
    );
}

#[test]
fn a_manifest_of_an_older_version_has_no_catalogue() {
    let (folder, store) = store();
    let good = take_with_catalogue(&store, 1, RUN);
    let wrong = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        store.publish(&manifest).unwrap_err().to_string()
    };
    assert!(wrong(&|manifest| manifest.version = 1).contains("it has a catalogue and is of version 1"));
    assert!(wrong(&|manifest| manifest.catalogue.reverse()).contains("order"));
    assert!(
        wrong(&|manifest| manifest.catalogue[0].file = manifest.groups[0].file.clone()).contains("of the catalogue")
    );
    assert!(
        wrong(&|manifest| manifest.groups[0].file = manifest.catalogue[0].file.clone()).contains("of the interactions")
    );
    assert!(wrong(&|manifest| manifest.catalogue[1].group = 16).contains("for group 16"));
    assert!(
        wrong(&|manifest| {
            manifest.catalogue[1].group = 16;
            manifest.catalogue[1].file = manifest.catalogue[1].file.replace("-00f.", "-010.");
        })
        .contains("for group 16")
    );
    assert!(
        wrong(&|manifest| manifest.catalogue.iter_mut().for_each(|file| file.rows = u64::MAX)).contains("statements")
    );
    assert!(wrong(&|manifest| manifest.catalogue[0].bytes = u64::MAX).contains("larger than any store"));
    // What a program sees that knows version 1 only.
    let text = fs::read_to_string(folder.path().join("manifests/0000000001.json")).unwrap();
    assert!(text.contains("\"version\": 2") && text.contains("\"catalogue\": ["), "{text}");
}

#[test]
fn a_manifest_without_a_catalogue_is_written_as_ever() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/version_0_1");
    let old = Store::open(from.to_str().unwrap()).unwrap().manifest(2).unwrap();
    assert!(old.catalogue.is_empty() && old.version == 1);
    let (folder, store) = store();
    fs::create_dir(folder.path().join("groups")).unwrap();
    for file in &old.groups {
        fs::copy(from.join(&file.file), folder.path().join(&file.file)).unwrap();
    }
    store.publish(&old).unwrap();
    let written = fs::read(folder.path().join("manifests/0000000002.json")).unwrap();
    assert!(written == fs::read(from.join("manifests/0000000002.json")).unwrap());
}

#[test]
fn files_of_the_catalogue_are_pruned_like_others() {
    const OTHER: RunId = RunId(7);
    let (folder, store) = store();
    for sequence in 1..=3 {
        take_with_catalogue(&store, sequence, RUN);
    }
    // The newest names a file of the second, as its group has not changed.
    let second = store.manifest(2).unwrap();
    let newest = with_catalogue(manifest(4, RUN, second.groups.clone()), second.catalogue[..1].to_vec());
    store.publish(&newest).unwrap();
    let write = |sequence, run| drop(store.put_catalogue(sequence, run, 3, &statements(&of_items(3, 1))).unwrap());
    write(4, OTHER);
    write(5, RUN);
    let place = |name: &str| folder.path().join("catalogue").join(name);
    for name in ["0000000001-1f00c0de-00a.parquet#1", "0000000005-1f00c0de-00a.parquet#1", "README"] {
        fs::write(place(name), "x").unwrap();
    }
    assert_eq!(store.newest().unwrap().missing, Some(Missing { sequence: 5, was_published: false }));
    let pruned = store.prune(1, None, Depth::Rows).unwrap();
    // Two snapshots with five files each, one file that the newest does not name, and one of another run.
    assert_eq!((pruned.snapshots, pruned.files), (3, 2 * 5 + 1 + 1));
    let left: Vec<String> = files(folder.path(), "catalogue")
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        left,
        [
            "0000000002-1f00c0de-000.parquet",
            "0000000005-1f00c0de-003.parquet",
            "0000000005-1f00c0de-00a.parquet#1",
            "README",
        ]
    );
    assert!(store.inspect(4, Depth::Rows).unwrap().is_sound());
    // Those of a snapshot that failed.
    store.discard(5, RUN).unwrap();
    assert!(!place("0000000005-1f00c0de-003.parquet").exists() && place("0000000002-1f00c0de-000.parquet").exists());
    // A run without a catalogue.
    take(&store, 5, RUN);
    store.prune(1, None, Depth::Rows).unwrap();
    assert!(!place("0000000002-1f00c0de-000.parquet").exists());
}

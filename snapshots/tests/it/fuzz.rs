//! Any bytes in place of a manifest or a group file: an error or sound rows, never a panic, never rows that are not there.
//! `PROPTEST_CASES` lengthens these tests.

use std::fs;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use schema::{Effect, MAX_TS};
use snapshots::{CODECS, Manifest, RunId, Store, StoreError};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::catalogue::take_with_catalogue;
use super::controls::take_with_controls;
use super::store::store;
use super::{RUN, any_rows, owned, rows, take};

/// A change of a file.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

pub(super) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        any::<Index>().prop_map(Edit::Cut),
    ];
    vec(edit, 1..5)
}

pub(super) fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        if bytes.is_empty() {
            return bytes;
        }
        let length = bytes.len();
        match edit {
            Edit::Set(at, byte) => bytes[at.index(length)] = *byte,
            Edit::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Edit::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + count).min(length));
            }
            Edit::Repeat(at, count) => {
                let at = at.index(length);
                let part = bytes[at..(at + count).min(length)].to_vec();
                bytes.splice(at..at, part);
            }
            Edit::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// The file of a manifest with this text and the right checksum.
fn sealed(text: &[u8]) -> Vec<u8> {
    let mut file = format!("{{\"xxh3\":\"{:016x}\",\"manifest\":", xxh3_64(text)).into_bytes();
    file.extend_from_slice(text);
    file.extend_from_slice(b"}\n");
    file
}

/// Gives a group file its right checksum, if it still has a place for one.
pub(super) fn reseal(codec: &str, file: &mut [u8]) {
    if codec == "parquet" {
        let key = b"deltarec.xxh3\x18\x10";
        let Some(at) = file.windows(key.len()).rposition(|window| window == key).map(|at| at + key.len()) else {
            return;
        };
        if at + 16 <= file.len() {
            file[at..at + 16].copy_from_slice(b"0000000000000000");
            let digits = format!("{:016x}", xxh3_64(file));
            file[at..at + 16].copy_from_slice(digits.as_bytes());
        }
    } else if file.len() >= 64 {
        let checksum = xxh3_64_with_seed(&file[64..], xxh3_64(&file[..56]));
        file[56..64].copy_from_slice(&checksum.to_ne_bytes());
    }
}

#[test]
fn fuzz_manifest() {
    fuzz_manifests(take);
}

#[test]
fn fuzz_manifest_with_a_catalogue() {
    fuzz_manifests(take_with_catalogue);
}

#[test]
fn fuzz_manifest_with_controls() {
    fuzz_manifests(take_with_controls);
}

fn fuzz_manifests(take: fn(&Store, u64, RunId) -> Manifest) {
    let (folder, store) = store();
    take(&store, 1, RUN);
    take(&store, 2, RUN);
    let good = fs::read(folder.path().join("manifests/0000000002.json")).unwrap();
    let start = good.iter().position(|byte| *byte == b',').unwrap() + br#""manifest":"#.len() + 1;
    let text = good[start..good.len() - 2].to_vec();
    assert!(sealed(&text) == good);
    let path = folder.path().join("manifests/0000000003.json");
    let check = |file: &[u8]| -> Result<(), TestCaseError> {
        fs::write(&path, file).unwrap();
        match store.newest() {
            Ok(found) => {
                let used = found.manifest.unwrap();
                prop_assert!(matches!(used.sequence, 2 | 3) && found.next == 4);
                prop_assert_eq!(found.damaged.is_empty(), used.sequence == 3);
                for group in &used.groups {
                    store.read_group(group).unwrap();
                }
                for group in &used.catalogue {
                    store.read_catalogue(group).unwrap();
                }
                for group in &used.controls {
                    store.read_controls(group).unwrap();
                }
            }
            Err(StoreError::Newer { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
        Ok(())
    };
    proptest!(|(noise in vec(any::<u8>(), 0..300), edits in edits())| {
        check(&noise)?;
        check(&edited(good.clone(), &edits))?;
        // A mistake under a right checksum.
        let renumbered = String::from_utf8(text.clone()).unwrap().replace("\"sequence\": 2", "\"sequence\": 3");
        check(&sealed(&edited(renumbered.into_bytes(), &edits)))?;
    });
}

#[test]
fn fuzz_chunk() {
    proptest!(|(given in any_rows(8), noise in vec(any::<u8>(), 0..300), edits in edits())| {
        for codec in CODECS.iter().filter(|codec| codec.name() != "abomonation") {
            let good = codec.encode(&rows(&given)).unwrap();
            let mut resealed = edited(good.clone(), &edits);
            reseal(codec.name(), &mut resealed);
            for file in [noise.clone(), edited(good.clone(), &edits), resealed] {
                let is_good = file == good;
                let Ok(read) = codec.decode(&Bytes::from(file)) else { continue };
                if is_good {
                    prop_assert_eq!(owned(&read), given.clone());
                }
                for (user, item, ts, level) in owned(&read) {
                    prop_assert!((1..=512).contains(&user.len()) && (1..=512).contains(&item.len()));
                    prop_assert!(ts <= MAX_TS && Effect::from_code(level).is_some());
                }
            }
        }
    });
}

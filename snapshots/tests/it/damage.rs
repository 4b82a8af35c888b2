use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use proptest::prelude::*;
use schema::Effect;
use snapshots::{CODECS, Codec, CodecError, codec};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{any_rows, few, owned, rows};

fn assert_rejected(codec: &dyn Codec, file: Vec<u8>, what: &str) {
    let read = catch_unwind(AssertUnwindSafe(|| codec.decode(&Bytes::from(file))));
    let read = read.unwrap_or_else(|_| panic!("{}, {what}: it panicked", codec.name()));
    assert!(read.is_err(), "{}, {what}: read as {read:?}", codec.name());
}

#[test]
fn detects_every_flipped_bit() {
    for codec in CODECS {
        let file = codec.encode(&rows(&few())).unwrap();
        for at in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert_rejected(*codec, damaged, &format!("bit {at}"));
        }
    }
}

#[test]
fn detects_every_truncation() {
    for codec in CODECS {
        let file = codec.encode(&rows(&few())).unwrap();
        for length in 0..file.len() {
            assert_rejected(*codec, file[..length].to_vec(), &format!("cut to {length}"));
        }
        assert_rejected(*codec, [file.as_slice(), b"\0"].concat(), "one byte more");
    }
}

/// Updates the checksum of a file of the codec `records`.
fn reseal(file: &mut [u8]) {
    if file.len() >= 64 {
        let checksum = xxh3_64_with_seed(&file[64..], xxh3_64(&file[..56]));
        file[56..64].copy_from_slice(&checksum.to_ne_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Wrong rows under a right checksum give an error or valid rows, and no panic.
    #[test]
    fn records_are_checked_even_under_a_right_checksum(
        given in any_rows(6),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let records = codec("records").unwrap();
        let mut file = records.encode(&rows(&given)).unwrap();
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        reseal(&mut file);
        if let Ok(read) = records.decode(&Bytes::from(file)) {
            for (user, item, ts, level) in owned(&read) {
                prop_assert!((1..=512).contains(&user.len()) && (1..=512).contains(&item.len()));
                prop_assert!(ts <= schema::MAX_TS && Effect::from_code(level).is_some());
            }
        }
    }

    #[test]
    fn rejects_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for codec in CODECS {
            assert_rejected(*codec, bytes.clone(), "noise");
        }
    }

    #[test]
    fn detects_several_changed_bytes(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for codec in CODECS {
            let good = codec.encode(&rows(&few())).unwrap();
            let mut file = good.clone();
            for (at, byte) in &edits {
                file[at.index(good.len())] = *byte;
            }
            if file != good {
                assert_rejected(*codec, file, "several bytes");
            }
        }
    }
}

#[test]
fn distinguishes_foreign_files_from_damage() {
    let records = codec("records").unwrap();
    let file = records.encode(&rows(&few())).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        reseal(&mut file);
        records.decode(&Bytes::from(file)).unwrap_err()
    };
    for (at, bytes, words) in [
        (8, 0x0D0C_0B0A_u32.to_ne_bytes().as_slice(), "the other byte order"),
        (12, &9_u32.to_ne_bytes(), "format 9; this one supports formats up to 2"),
        (16, &24_u32.to_ne_bytes(), "another layout of records"),
        (24, &1_u64.to_ne_bytes(), "another build"),
    ] {
        let error = with(at, bytes);
        assert!(matches!(error, CodecError::Foreign(_)) && error.to_string().contains(words), "{error}");
    }
    assert!(matches!(with(40, &u64::MAX.to_ne_bytes()), CodecError::Damaged(_)));
    assert!(matches!(with(0, b"parquet!"), CodecError::Damaged(_)));
}

/// Runs only with the feature.
#[test]
fn abomonation_rejects_a_file_of_another_build() {
    let Some(abomonation) = codec("abomonation") else { return };
    let mut file = abomonation.encode(&rows(&few())).unwrap();
    file[24] ^= 1;
    reseal(&mut file);
    let error = abomonation.decode(&Bytes::from(file)).unwrap_err().to_string();
    assert!(error.contains("another build"), "{error}");
}

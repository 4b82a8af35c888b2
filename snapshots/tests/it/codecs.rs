use std::collections::HashSet;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use proptest::prelude::*;
use schema::{Effect, id64};
use snapshots::{CODECS, Codec, Interactions, codec};

use super::{any_rows, effect, few, owned, rows};

fn round_trip(codec: &dyn Codec, interactions: &Interactions) -> Interactions {
    let file = Bytes::from(codec.encode(interactions).unwrap());
    codec.decode(&file).unwrap_or_else(|error| panic!("{}: {error}", codec.name()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_round_trip(given in any_rows(60)) {
        let interactions = rows(&given);
        prop_assert_eq!(&owned(&interactions), &given);
        for codec in CODECS {
            let read = round_trip(*codec, &interactions);
            prop_assert_eq!(&owned(&read), &given);
            prop_assert_eq!(&read, &interactions);
            // Names are stored once.
            prop_assert_eq!(read.users().collect::<HashSet<_>>().len(), read.users().len());
            prop_assert_eq!(read.items().collect::<HashSet<_>>().len(), read.items().len());
        }
    }
}

#[test]
fn numbered_rows_match_named_rows() {
    let interactions = rows(&few());
    let (users, items): (Vec<&str>, Vec<&str>) = (interactions.users().collect(), interactions.items().collect());
    assert_eq!((users.len(), items.len(), interactions.len()), (3, 3, 7));
    let numbered = interactions.numbered().map(|(user, item, ts, effect)| (users[user], items[item], ts, effect));
    assert!(numbered.eq(interactions.iter().map(|row| (row.user, row.item, row.ts, row.effect))));
}

/// More rows than a codec processes in one batch.
#[test]
fn many_rows_round_trip() {
    let given =
        (0..1_100_000_u64).map(|n| (format!("u{}", n / 50), format!("p{}", n * 7919 % 1_000), n, 1 + (n % 6) as u8));
    let mut interactions = Interactions::default();
    for (user, item, ts, level) in given {
        interactions.push((id64(&user), &user), (id64(&item), &item), ts, effect(level));
    }
    for codec in CODECS {
        assert!(round_trip(*codec, &interactions) == interactions, "{}", codec.name());
    }
}

#[test]
fn codecs_are_found_by_name_and_reject_files_of_others() {
    for one in CODECS {
        assert_eq!(codec(one.name()).unwrap().name(), one.name());
        let file = Bytes::from(one.encode(&rows(&few())).unwrap());
        for other in CODECS.iter().filter(|other| other.name() != one.name()) {
            assert!(other.decode(&file).is_err(), "{} read by {}", one.name(), other.name());
        }
    }
    assert!(codec("csv").is_none());
}

#[test]
#[should_panic(expected = "the effect and the time of an event")]
fn rejects_a_level_out_of_range() {
    Interactions::default().push((1, "u"), (2, "p"), 5, Effect::Counts(16));
}

/// A name may look like anything, even like the key of the checksum.
#[test]
fn names_may_look_like_the_file_format() {
    let name = "deltarec.xxh3\x18\x100000000000000000";
    let given = vec![(name.to_owned(), name.to_owned(), 5, 1), ("PAR1".to_owned(), name.repeat(9), 5, 1)];
    for codec in CODECS {
        assert_eq!(owned(&round_trip(*codec, &rows(&given))), given);
    }
}

/// With and without rooms: tools refuse a folder of files with different columns.
#[test]
fn all_parquet_files_have_the_same_columns() {
    let mut with_room = rows(&few());
    with_room.set_room(id64("room"), "room");
    let schemas = [Interactions::default(), rows(&few()), with_room].map(|rows| {
        let file = Bytes::from(codec("parquet").unwrap().encode(&rows).unwrap());
        SerializedFileReader::new(file).unwrap().metadata().file_metadata().schema().clone()
    });
    assert!(schemas[0] == schemas[1] && schemas[1] == schemas[2]);
}

/// Uses the generic reader of the `parquet` crate.
#[test]
fn generic_readers_read_parquet_files() {
    let file = Bytes::from(codec("parquet").unwrap().encode(&rows(&few())).unwrap());
    let reader = SerializedFileReader::new(file).unwrap();
    let mut schema = Vec::new();
    parquet::schema::printer::print_schema(&mut schema, reader.metadata().file_metadata().schema());
    assert_eq!(
        String::from_utf8(schema).unwrap(),
        "message interactions {\n  REQUIRED BYTE_ARRAY user (STRING);\n  REQUIRED BYTE_ARRAY item (STRING);\n  \
         REQUIRED INT32 level;\n  REQUIRED INT64 ts (TIMESTAMP(MILLIS,true));\n  \
         REQUIRED BYTE_ARRAY room (STRING);\n}\n"
    );
    let read = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let ts = row.get_timestamp_millis(3).unwrap();
        (
            row.get_string(0).unwrap().clone(),
            row.get_string(1).unwrap().clone(),
            u64::try_from(ts).unwrap(),
            u8::try_from(row.get_int(2).unwrap()).unwrap(),
        )
    });
    assert_eq!(read.collect::<Vec<_>>(), few());
}

#[test]
fn two_names_with_one_id_without_a_key_stay_two() {
    let names = ["u13758", "=,CGPL9A"];
    assert_eq!(schema::id64(names[0]), schema::id64(names[1]));
    let key = schema::IdKey::new(b"0123456789abcdef").unwrap();
    let mut rows = snapshots::Interactions::default();
    for (ts, name) in (1..).zip(names) {
        let other = names[usize::from(name == names[0])];
        rows.push((key.id64(name), name), (key.id64(other), other), ts, effect(3));
        rows.set_room(key.id64(name), name);
    }
    for codec in CODECS {
        let read = codec.decode(&codec.encode(&rows).unwrap().into()).unwrap();
        assert_eq!(read, rows, "{}", codec.name());
        assert_eq!(read.users().collect::<Vec<_>>(), names, "{}", codec.name());
    }
}

#[test]
fn push_known_adds_rows_of_known_names_only() {
    let [ann, bob, tea] = ["ann", "bob", "tea"].map(|name| (schema::id64(name), name));
    let mut rows = snapshots::Interactions::default();
    assert!(!rows.push_known(ann.0, tea.0, 1, effect(1)), "no user is known");
    rows.push(ann, tea, 1, effect(1));
    assert!(rows.push_known(ann.0, tea.0, 2, effect(3)));
    assert!(!rows.push_known(bob.0, tea.0, 3, effect(1)) && !rows.push_known(ann.0, bob.0, 3, effect(1)));
    let found: Vec<_> = rows.iter().map(|row| (row.user, row.item, row.ts, row.effect.code())).collect();
    assert_eq!(found, [("ann", "tea", 1, 1), ("ann", "tea", 2, 3)]);
}

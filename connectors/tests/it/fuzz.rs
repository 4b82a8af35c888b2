//! Arbitrary and mutated inputs: nothing panics, and each record is an event, rejected or blank.

use std::io::Cursor;

use connectors::{Columns, Compression, Format, InputOptions, source_from};
use proptest::prelude::*;

use crate::support::{Chunks, Outcome, Owned, drain, line_of, read};

const EVENTS: [&str; 5] = [
    r#"{"user":"u1","item":77,"action":"view","ts":1.7e12,"dwell_ms":41000.5,"room":"r"}"#,
    r#"{"user":{"id":"a.b"},"products":[{"id":"p1","n":[1,{"x":NaN}]},{"id":"p\u00e9"}],"action":"buy","ts":"1"}"#,
    r#"{"user.id":null,"item":"\ud83d\ude00","action":"","ts":-Infinity}"#,
    r#"{"user":"NULL","item":123.0,"action":7,"ts":123456789012345678901234567890}"#,
    "",
];

/// A seed with some of its bytes replaced, removed or doubled.
fn mutated(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let seed = prop::sample::select(seeds.to_vec());
    let change = (any::<prop::sample::Index>(), 0..4_u8, any::<u8>());
    (seed, prop::collection::vec(change, 0..4)).prop_map(|(seed, changes)| {
        let mut bytes = seed.as_bytes().to_vec();
        for (at, kind, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, bytes[at]),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

fn accounted(outcome: &Outcome) -> usize {
    outcome.events.len() + outcome.rejected.len()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fuzz_json_event(
        lines in prop::collection::vec(prop_oneof![mutated(&EVENTS), prop::collection::vec(any::<u8>(), 0..80)], 0..12),
        columns in prop::sample::select(vec!["user=user", "user=user.id", "item=products[].id", "user=a.b.c.d.e.f.g"]),
    ) {
        // A mutation may insert a newline.
        let bytes = lines.join(&b'\n');
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let options = InputOptions { columns: columns.parse().unwrap(), rooms: true, ..InputOptions::default() };
        for line in &lines {
            // Not at the start, where it may look like compressed data or UTF-16.
            let text = [b"\n\n", *line].concat();
            let outcome = read(&text, Format::JsonLines, &options);
            let is_blank = line.trim_ascii().is_empty();
            prop_assert!(outcome.rejected.len() <= 1 && outcome.error.is_none());
            prop_assert_eq!(accounted(&outcome) == 0, is_blank, "{:?}", String::from_utf8_lossy(line));
            for rejected in &outcome.rejected {
                let text = rejected.reason.to_string();
                prop_assert!(text.len() < 1500 && !text.contains(['\n', '\u{1b}']), "{}", text);
            }
        }
    }

    #[test]
    fn fuzz_csv(
        rows in prop::collection::vec("[a-b0-9,;:\"' \r\t]{0,24}|u,i,pv,1|\"u\",\"a\n\"\"b\",pv,2", 0..40),
        delimiter in prop::sample::select(vec![",", ";", "::", "\t", " "]),
        quote in prop::sample::select(vec!["none", "\"", "'"]),
        header in any::<bool>(),
        trim in any::<bool>(),
        max_record_bytes in 8..200_usize,
        sizes in prop::collection::vec(1..30_usize, 1..5),
    ) {
        let mut options = InputOptions { max_record_bytes, header, trim, ..InputOptions::default() };
        options.set("delimiter", delimiter).unwrap();
        options.set("quote", quote).unwrap();
        let first = if header {
            "user,item,action,ts\n"
        } else {
            options.set("columns", "user=1,item=2,action=3,ts=4").unwrap();
            "u,i,pv,1\n"
        };
        let text = first.replace(',', delimiter) + &rows.join("\n");
        let open = |read: Box<dyn std::io::Read + Send>| {
            source_from("in", read, Format::Csv, Compression::Plain, &options)
        };
        let Ok(mut source) = open(Box::new(Cursor::new(text.clone().into_bytes()))) else { return Ok(()) };
        let outcome = drain(source.as_mut());
        let mut positions: Vec<u64> = outcome.events.iter().map(Owned::line).collect();
        positions.extend(outcome.rejected.iter().map(|rejected| line_of(rejected.position)));
        positions.sort_unstable();
        prop_assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "each line once: {:?}", positions);
        if quote == "none" {
            let lines = text.split('\n').skip(usize::from(header));
            let expected = lines.filter(|line| !matches!(*line, "" | "\r")).count();
            prop_assert_eq!(accounted(&outcome), expected);
        }
        let mut in_pieces = open(Box::new(Chunks::new(text.as_bytes(), &sizes))).unwrap();
        let in_pieces = drain(in_pieces.as_mut());
        prop_assert_eq!((outcome.events, outcome.rejected), (in_pieces.events, in_pieces.rejected));
    }

    #[test]
    fn fuzz_columns(text in prop_oneof![
        "\\PC{0,60}",
        "((user|item|action|ts|dwell_ms|room|x)=[a-z.\\[\\]:%,]{0,12},){0,4}ts=t:[a-z%YmdHMSz ,:-]{0,12}",
    ]) {
        let Ok(columns) = text.parse::<Columns>() else { return Ok(()) };
        let options = InputOptions { columns, ..InputOptions::default() };
        for format in [Format::JsonLines, Format::Csv] {
            let bytes = Cursor::new("{\"user\":1,\"t\":\"2020-01-01\",\"ts\":[1,{\"a\":1}]}\n");
            if let Ok(mut source) = source_from("in", bytes, format, Compression::Plain, &options) {
                drain(source.as_mut());
            }
        }
    }
}

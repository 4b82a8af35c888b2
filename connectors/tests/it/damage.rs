use std::io::{self, Cursor, Read};

use connectors::{Compression, Format, InputOptions, Source, source_from};

use crate::support::{Outcome, drain, pack};

fn lines(count: usize) -> String {
    let line = |n| format!("{{\"user\":\"u{n}\",\"item\":\"p{}\",\"action\":\"pv\",\"ts\":{n}}}\n", n * 7919 % 1009);
    (0..count).map(line).collect::<Vec<_>>().concat()
}

fn open(bytes: Vec<u8>, compression: Compression) -> Box<dyn Source> {
    source_from("day.jsonl", Cursor::new(bytes), Format::JsonLines, compression, &InputOptions::default()).unwrap()
}

/// Every event is one that was written, in order from the first, and the error names the file and the next line.
fn check(outcome: &Outcome) {
    for (n, event) in outcome.events.iter().enumerate() {
        assert_eq!(event.user, format!("u{n}"));
    }
    assert!(outcome.rejected.is_empty(), "a torn line is no bad record: {:?}", outcome.rejected.first());
    let error = outcome.error.as_ref().expect("damage must show");
    assert_eq!(error.source_name, "day.jsonl");
    assert_eq!(error.position.unwrap().line, outcome.events.len() as u64 + 1);
    assert!(error.to_string().starts_with("day.jsonl: line "), "{error}");
}

#[test]
fn a_truncated_file_gives_what_is_whole_and_then_an_error() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let whole = pack(lines(20_000).as_bytes(), compression);
        for cut in [whole.len() - 1, whole.len() - 5, whole.len() / 2] {
            let outcome = drain(open(whole[..cut].to_vec(), compression).as_mut());
            check(&outcome);
            assert!(outcome.error.unwrap().to_string().contains("cut off"), "{compression:?} {cut}");
            // Only the checksum is missing, or the half of the file.
            let least = if cut + 5 >= whole.len() && compression == Compression::Gzip { 20_000 } else { 5_000 };
            assert!(outcome.events.len() >= least, "{compression:?} {cut}: {}", outcome.events.len());
        }
    }
}

#[test]
fn a_flipped_bit_ends_in_an_error_or_changes_nothing() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let whole = pack(lines(3_000).as_bytes(), compression);
        for at in (0..whole.len()).step_by(whole.len() / 97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let opened =
                source_from("day.jsonl", Cursor::new(bytes), Format::JsonLines, compression, &InputOptions::default());
            let outcome = drain(opened.unwrap().as_mut());
            let unharmed = outcome.events.len() == 3_000 && outcome.rejected.is_empty();
            // A header's time and flags change nothing.
            assert!(unharmed || outcome.error.is_some(), "{compression:?}: byte {at} passed unnoticed");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_middle_of_zstd_is_told() {
    let mut bytes = pack(lines(50_000).as_bytes(), Compression::Zstd);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    let outcome = drain(open(bytes, Compression::Zstd).as_mut());
    let error = outcome.error.expect("damage must show");
    assert!(error.position.is_some() && error.cause.is_some(), "{error}");
}

#[test]
fn several_members_are_one_file() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let text = lines(10);
        let (first, second) = text.split_at(100);
        let bytes = [pack(first.as_bytes(), compression), pack(second.as_bytes(), compression)].concat();
        let outcome = drain(open(bytes, compression).as_mut());
        assert_eq!((outcome.events.len(), outcome.error.is_none()), (10, true));
    }
}

#[test]
fn a_file_not_packed_as_its_name_says_is_an_error() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let outcome = drain(open(lines(10).into_bytes(), compression).as_mut());
        let error = outcome.error.expect("must show").to_string();
        assert!(error.contains("not packed as its name says"), "{error}");
    }
}

#[test]
fn a_failing_read_keeps_failing_and_an_interrupted_one_does_not() {
    struct Moody {
        reads: u32,
    }
    impl Read for Moody {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            match self.reads {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => {
                    let line = lines(1);
                    into[..line.len()].copy_from_slice(line.as_bytes());
                    Ok(line.len())
                }
                _ => Err(io::Error::other("the disk is gone")),
            }
        }
    }
    let options = InputOptions::default();
    let mut source =
        source_from("day.jsonl", Moody { reads: 0 }, Format::JsonLines, Compression::Plain, &options).unwrap();
    let outcome = drain(source.as_mut());
    assert_eq!(outcome.events.len(), 1);
    check(&outcome);
    assert!(drain(source.as_mut()).error.unwrap().to_string().contains("the disk is gone"));
}

use std::io::{self, Cursor, Read};

use connectors::{Compression, Format, InputOptions, Source, source_from};

use crate::support::{Outcome, compress, drain, line_of};

fn lines(count: usize) -> String {
    let line = |n| format!("{{\"user\":\"u{n}\",\"item\":\"p{}\",\"action\":\"pv\",\"ts\":{n}}}\n", n * 7919 % 1009);
    (0..count).map(line).collect::<Vec<_>>().concat()
}

fn open(bytes: Vec<u8>, compression: Compression) -> Box<dyn Source> {
    source_from("day.jsonl", Cursor::new(bytes), Format::JsonLines, compression, &InputOptions::default()).unwrap()
}

/// Checks that the events are the first ones written, in order, and that the error has the file and the next line.
fn check(outcome: &Outcome) {
    for (n, event) in outcome.events.iter().enumerate() {
        assert_eq!(event.user, format!("u{n}"));
    }
    assert!(outcome.rejected.is_empty(), "a truncated line is not a bad record: {:?}", outcome.rejected.first());
    let error = outcome.error.as_ref().expect("damage is an error");
    assert_eq!(error.source_name, "day.jsonl");
    assert_eq!(line_of(error.position.unwrap()), outcome.events.len() as u64 + 1);
    assert!(error.to_string().starts_with("day.jsonl: line "), "{error}");
}

#[test]
fn a_truncated_file_yields_its_whole_lines_and_then_an_error() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let whole = compress(lines(20_000).as_bytes(), compression);
        for cut in [whole.len() - 1, whole.len() - 5, whole.len() / 2] {
            let outcome = drain(open(whole[..cut].to_vec(), compression).as_mut());
            check(&outcome);
            assert!(outcome.error.unwrap().to_string().contains("truncated"), "{compression:?} {cut}");
            // Only the checksum is missing, or half of the file.
            let least = if cut + 5 >= whole.len() && compression == Compression::Gzip { 20_000 } else { 5_000 };
            assert!(outcome.events.len() >= least, "{compression:?} {cut}: {}", outcome.events.len());
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let whole = compress(lines(3_000).as_bytes(), compression);
        for at in (0..whole.len()).step_by(whole.len() / 97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let opened =
                source_from("day.jsonl", Cursor::new(bytes), Format::JsonLines, compression, &InputOptions::default());
            let outcome = drain(opened.unwrap().as_mut());
            let unharmed = outcome.events.len() == 3_000 && outcome.rejected.is_empty();
            // Time and flags in a header have no effect.
            assert!(unharmed || outcome.error.is_some(), "{compression:?}: byte {at} passed unnoticed");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_middle_of_zstd_is_an_error() {
    let mut bytes = compress(lines(50_000).as_bytes(), Compression::Zstd);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    let outcome = drain(open(bytes, Compression::Zstd).as_mut());
    let error = outcome.error.expect("damage is an error");
    assert!(error.position.is_some() && error.cause.is_some(), "{error}");
}

#[test]
fn reads_all_members_of_a_file() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let text = lines(10);
        let (first, second) = text.split_at(100);
        let bytes = [compress(first.as_bytes(), compression), compress(second.as_bytes(), compression)].concat();
        let outcome = drain(open(bytes, compression).as_mut());
        assert_eq!((outcome.events.len(), outcome.error.is_none()), (10, true));
    }
}

#[test]
fn a_file_not_compressed_as_its_name_says_is_an_error() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let outcome = drain(open(lines(10).into_bytes(), compression).as_mut());
        let error = outcome.error.expect("is an error").to_string();
        assert!(error.contains("not compressed as its name says"), "{error}");
    }
}

#[test]
fn retries_an_interrupted_read_and_reports_a_failed_one() {
    struct Flaky {
        reads: u32,
    }
    impl Read for Flaky {
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
        source_from("day.jsonl", Flaky { reads: 0 }, Format::JsonLines, Compression::Plain, &options).unwrap();
    let outcome = drain(source.as_mut());
    assert_eq!(outcome.events.len(), 1);
    check(&outcome);
    assert!(drain(source.as_mut()).error.unwrap().to_string().contains("the disk is gone"));
}

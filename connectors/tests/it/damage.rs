use std::io::{self, Cursor, Read};

use connectors::{Compression, Format, InputOptions, Source, source_from};

use crate::support::{Chunks, Outcome, compress, drain, line_of};

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

#[test]
fn compressed_data_is_recognised_under_any_name() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bytes = compress(lines(100).as_bytes(), compression);
        assert_eq!(drain(open(bytes.clone(), Compression::Plain).as_mut()).events.len(), 100, "{compression:?}");
        let slow = Chunks::new(&bytes, &[1]);
        let mut source =
            source_from("-", slow, Format::JsonLines, Compression::Plain, &InputOptions::default()).unwrap();
        assert_eq!(drain(source.as_mut()).events.len(), 100);
        let options = InputOptions { compression: Some(Compression::Plain), ..InputOptions::default() };
        let mut source = source_from("-", Cursor::new(bytes), Format::JsonLines, Compression::Plain, &options).unwrap();
        assert!(drain(source.as_mut()).events.is_empty(), "compression=none");
    }
}

#[test]
fn zeros_after_gzip_data_are_padding_and_other_bytes_an_error() {
    let bytes = compress(lines(10).as_bytes(), Compression::Gzip);
    for zeros in [1, 512, 100_000] {
        let outcome = drain(open([&bytes[..], &vec![0; zeros]].concat(), Compression::Gzip).as_mut());
        assert_eq!((outcome.events.len(), outcome.error.is_none()), (10, true));
    }
    for rest in [&b"x"[..], b"\0\0x", b"\0\x1f\x8b", b"{}\n"] {
        let outcome = drain(open([&bytes[..], rest].concat(), Compression::Gzip).as_mut());
        let error = outcome.error.expect("is an error").to_string();
        assert!(outcome.events.len() == 10 && error.contains("other bytes follow the end"), "{error}");
    }
    let bytes = compress(lines(10).as_bytes(), Compression::Zstd);
    let outcome = drain(open([&bytes[..], b"some text"].concat(), Compression::Zstd).as_mut());
    assert!(outcome.error.expect("is an error").to_string().contains("other bytes follow the end"));
}

#[test]
fn reads_zstd_with_a_long_window() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(28).unwrap();
    io::Write::write_all(&mut encoder, lines(1000).as_bytes()).unwrap();
    let outcome = drain(open(encoder.finish().unwrap(), Compression::Zstd).as_mut());
    assert_eq!((outcome.events.len(), outcome.error.is_none()), (1000, true));
}

#[test]
fn content_that_is_not_text_is_named() {
    let utf16 = |text: &str, mark: &[u8], big: bool| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
        mark.iter().copied().chain(units).collect()
    };
    let line = "{\"user\":1}\n";
    for (bytes, part) in [
        (utf16(line, b"\xff\xfe", false), "UTF-16"),
        (utf16(line, b"\xfe\xff", true), "UTF-16"),
        (utf16(line, b"", false), "UTF-16"),
        (utf16(line, b"", true), "UTF-16"),
        (b"PK\x03\x04....".to_vec(), "zip archive"),
        (b"BZh91AY&SY....".to_vec(), "bzip2"),
        (b"\xfd7zXZ\0....".to_vec(), "xz data"),
    ] {
        let outcome = drain(open(bytes, Compression::Plain).as_mut());
        let error = outcome.error.expect(part).to_string();
        assert!(error.contains(part) && outcome.rejected.is_empty(), "{error}");
    }
}

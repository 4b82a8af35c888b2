//! The sizes of reads do not matter, memory is bounded, and reading resumes at any record.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use connectors::{Batch, Compression, Format, InputOptions, Polled, Source, SourcePosition, source_from};
use proptest::prelude::*;
use schema::{Event, Position, Reason};

use crate::support::{COMPRESSIONS, Chunks, Outcome, compress, csv, drain, json, line_of, read};

/// Valid and invalid lines, quotes, line ends and byte order marks of every kind.
const JSON: &str = "\u{feff}{\"user\":1,\"item\":2,\"action\":\"a\",\"ts\":1}\n\n \r\n{}\r\n[1\n\
    {\"user\":\"\\u54c1\",\"item\":\"品\",\"action\":\"b\",\"ts\":2}\r\n{\"user\":1}\n\
    {\"user\":3,\"item\":2,\"action\":\"a long long long long long long long long long long action\",\"ts\":1}\n\
    {\"user\":3,\"item\":2,\"action\":\"c\",\"ts\":3}";
const CSV: &str = "\u{feff}user,\"it\"\"em\",item,action,ts\r\n\
    u1,x,i1,pv,1\r\n\n\"u\n2\",\"a\"\"b\",\"i,2\",pv,2\nu3,x\n\"u4,x,i4,pv,4\nu5,x,i5,pv,5\n\r\n\
    \"u6\r\n\",x,i6,pv,6\nu7,x,i7,\"pv\",\"7\"\r\n\"a\n\",\"b\n\nu8,x,i8,pv,8\n\"open,x,y,pv,9\nu10,x,i10,pv,10";

fn options() -> InputOptions {
    InputOptions { max_record_bytes: 64, ..InputOptions::default() }
}

fn open(bytes: impl Read + Send + 'static, format: Format, compression: Compression) -> Box<dyn Source> {
    source_from("in", bytes, format, compression, &options()).unwrap()
}

fn same(a: &Outcome, b: &Outcome) {
    assert_eq!(a.events, b.events);
    assert_eq!(a.rejected, b.rejected);
    assert!(a.error.is_none() && b.error.is_none());
}

#[test]
fn the_samples_contain_valid_and_invalid_records() {
    let from_json = drain(open(Cursor::new(JSON), Format::JsonLines, Compression::Plain).as_mut());
    assert_eq!(from_json.users(), ["1", "品", "3"]);
    assert_eq!(from_json.codes(), ["missing:user", "malformed", "missing:item", "too_long"]);
    let from_csv = drain(open(Cursor::new(CSV), Format::Csv, Compression::Plain).as_mut());
    assert_eq!(from_csv.users(), ["u1", "u\n2", "u5", "u6\r\n", "u7", "u8", "u10"]);
    assert!(from_csv.codes().iter().all(|code| code == "malformed" || code == "too_long"), "{:?}", from_csv.codes());
}

#[test]
fn resuming_at_every_record_equals_reading_through() {
    for (text, format) in [(JSON, Format::JsonLines), (CSV, Format::Csv)] {
        for compression in COMPRESSIONS {
            let bytes = compress(text.as_bytes(), compression);
            let whole = drain(open(Cursor::new(bytes.clone()), format, compression).as_mut());
            // A byte at a time, so that every record is a poll of its own.
            let mut slow =
                source_from("in", Chunks::new(text.as_bytes(), &[1]), format, Compression::Plain, &options()).unwrap();
            let mut before = Outcome::default();
            let mut batch = Batch::default();
            let mut positions = 0;
            loop {
                let resume = slow.position(&Batch::default(), 0);
                let SourcePosition::Line { line, byte, .. } = resume else { panic!("a file has lines") };
                let position = Position::Line { line, byte };
                let mut resumed = open(Cursor::new(bytes.clone()), format, compression);
                resumed.resume_at(&resume).unwrap();
                let mut after = drain(resumed.as_mut());
                // A record that was being skipped is rejected again.
                let skipped = before.rejected.last().is_some_and(|rejected| rejected.position == position);
                let known = before.rejected.len() - usize::from(skipped);
                let joined = Outcome {
                    events: before.events.iter().cloned().chain(after.events.drain(..)).collect(),
                    rejected: before.rejected[..known].iter().cloned().chain(after.rejected.drain(..)).collect(),
                    error: None,
                };
                same(&joined, &whole);
                positions += 1;
                batch.clear();
                let polled = slow.poll(&mut batch).unwrap();
                before.take(&batch);
                if polled == Polled::Finished {
                    break;
                }
            }
            assert!(positions > 20);
        }
    }
}

#[test]
fn resuming_another_file_is_an_error() {
    let resume = |line, byte| {
        let mut source = open(Cursor::new(CSV), Format::Csv, Compression::Plain);
        source.resume_at(&SourcePosition::Line { line, byte, fingerprint: None }).map_err(|error| error.to_string())
    };
    assert_eq!(resume(1, 0), Ok(()));
    assert_eq!(resume(0, 0), Ok(()), "the default is the start");
    assert!(resume(99, 100_000).unwrap_err().contains("ends before byte 100000"));
    assert!(resume(1, 3).unwrap_err().contains("go back"));
    assert!(resume(77, 46).unwrap_err().contains("not on line 77"));
}

#[test]
fn a_long_line_is_rejected_once_and_not_buffered() {
    const LONG: u64 = 600 << 20;
    for format in [Format::JsonLines, Format::Csv] {
        let (head, tail): (&[u8], &[u8]) = match format {
            Format::JsonLines => (b"{\"user\":\"", b"\n{\"user\":1,\"item\":2,\"action\":\"a\",\"ts\":1}\n"),
            Format::Csv | Format::Parquet => (b"user,item,action,ts\n\"", b"\n1,2,a,1\n"),
        };
        let bytes = head.chain(io::repeat(b'x').take(LONG)).chain(tail);
        let mut source = source_from("in", bytes, format, Compression::Plain, &InputOptions::default()).unwrap();
        let outcome = drain(source.as_mut());
        assert_eq!(outcome.users(), ["1"]);
        assert_eq!(outcome.rejected.len(), 1);
        assert_eq!(outcome.rejected[0].reason, Reason::TooLong { limit: 1 << 20 });
        assert_eq!(outcome.rejected[0].record.len(), 4 << 10);
        let lines = if format == Format::Csv { (2, 3) } else { (1, 2) };
        assert_eq!((line_of(outcome.rejected[0].position), outcome.events[0].line()), lines);
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        let kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
        // Other tests run in the same process.
        assert!(kib < 300 << 10, "peak memory {peak}");
    }
}

#[test]
fn the_record_limit_does_not_depend_on_the_sizes_of_reads() {
    let line = |length: usize| {
        let empty = r#"{"user":1,"item":2,"ts":3,"action":""}"#.len();
        format!(r#"{{"user":1,"item":2,"ts":3,"action":"{}"}}"#, "a".repeat(length - empty))
    };
    for end in ["\n", ""] {
        for sizes in [&[1][..], &[1000], &[63, 1], &[64, 1], &[65]] {
            let text = format!("{}{end}", line(64));
            let outcome =
                drain(open(Chunks::new(text.as_bytes(), sizes), Format::JsonLines, Compression::Plain).as_mut());
            assert_eq!((outcome.events.len(), outcome.rejected.len()), (1, 0));
            let text = format!("{}{end}", line(65));
            let outcome =
                drain(open(Chunks::new(text.as_bytes(), sizes), Format::JsonLines, Compression::Plain).as_mut());
            assert_eq!(outcome.codes(), ["too_long"]);
        }
    }
}

/// Panics when it is read more often than the test allows, where a pipe would block.
struct Pipe {
    pieces: Vec<&'static str>,
    allowed: Arc<AtomicUsize>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert_eq!(self.allowed.swap(0, SeqCst), 1, "a second read would block");
        if self.pieces.is_empty() {
            return Ok(0);
        }
        let piece = self.pieces.remove(0);
        into[..piece.len()].copy_from_slice(piece.as_bytes());
        Ok(piece.len())
    }
}

#[test]
fn a_poll_reads_once_and_returns_the_whole_lines() {
    let allowed = Arc::new(AtomicUsize::new(0));
    let line =
        "{\"user\":1,\"item\":2,\"action\":\"a\",\"ts\":1}\n{\"user\":2,\"item\":2,\"action\":\"a\",\"ts\":1}\n{\"us";
    let pieces = vec![
        line,
        "er\":3,\"item\":2,",
        "\"action\":\"a\",\"ts\":1}\n",
        "{\"user\":4,\"item\":2,\"action\":\"a\",\"ts\":1}",
    ];
    let mut source = open(Pipe { pieces, allowed: Arc::clone(&allowed) }, Format::JsonLines, Compression::Plain);
    let mut polls = Vec::new();
    let mut batch = Batch::default();
    loop {
        batch.clear();
        allowed.store(1, SeqCst);
        let polled = source.poll(&mut batch).unwrap();
        polls.push((batch.len(), polled));
        if polled == Polled::Finished {
            break;
        }
    }
    let idle = Polled::Idle;
    // The first poll finds nothing buffered and returns before it would block.
    assert_eq!(polls, [(0, idle), (2, idle), (0, idle), (1, idle), (0, idle), (1, Polled::Finished)]);
}

#[test]
fn a_poll_is_bounded_and_reports_that_more_is_buffered() {
    let line = "{\"user\":1,\"item\":2,\"action\":\"a\",\"ts\":1}\n";
    let text = line.repeat(30_000);
    let options = InputOptions { max_record_bytes: usize::MAX, ..InputOptions::default() };
    let mut source =
        source_from::<Event>("in", Cursor::new(text), Format::JsonLines, Compression::Plain, &options).unwrap();
    let (mut batch, mut events) = (Batch::default(), 0);
    while source.poll(&mut batch).unwrap() != Polled::Finished {
        assert!(batch.len() <= 4096);
        events += batch.len();
        batch.clear();
    }
    assert_eq!(events + batch.len(), 30_000);
}

#[test]
fn an_empty_input_has_no_events() {
    assert!(json("").events.is_empty() && csv("").events.is_empty());
    for compression in COMPRESSIONS {
        let packed = compress(b"", compression);
        let outcome = drain(open(Cursor::new(packed), Format::JsonLines, compression).as_mut());
        assert!(outcome.events.is_empty() && outcome.error.is_none(), "{compression:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_sizes_of_reads_do_not_matter(sizes in prop::collection::vec(1..40_usize, 1..12), kind in 0..6_usize) {
        let (text, format) = if kind < 3 { (JSON, Format::JsonLines) } else { (CSV, Format::Csv) };
        let compression = COMPRESSIONS[kind % 3];
        let at_once = drain(open(Cursor::new(text), format, Compression::Plain).as_mut());
        let packed = compress(text.as_bytes(), compression);
        let in_pieces = drain(open(Chunks::new(&packed, &sizes), format, compression).as_mut());
        same(&at_once, &in_pieces);
    }

    #[test]
    fn reads_any_csv_in_any_pieces_alike(
        text in prop::collection::vec(prop::sample::select(b"a,\"\n\r 1\xff".to_vec()), 0..400),
        sizes in prop::collection::vec(1..20_usize, 1..6),
    ) {
        let mut bytes = b"user,item,action,ts\n".to_vec();
        bytes.extend(text);
        let at_once = drain(open(Cursor::new(bytes.clone()), Format::Csv, Compression::Plain).as_mut());
        let in_pieces = drain(open(Chunks::new(&bytes, &sizes), Format::Csv, Compression::Plain).as_mut());
        same(&at_once, &in_pieces);
    }

    #[test]
    fn every_json_line_is_an_event_or_rejected(
        lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..120),
                Just(br#"{"user":"u","item":7,"action":"pv","ts":1}"#.to_vec()),
                Just(b"  \r".to_vec()),
                "[{}\\[\\]\":,a-z0-9\\\\ ]{0,60}".prop_map(String::into_bytes),
            ],
            0..30,
        )
    ) {
        // The first bytes of a stream may look like compressed data or UTF-16.
        let bytes = [b"\n\n", &lines.join(&b'\n')[..]].concat();
        let outcome = read(&bytes, Format::JsonLines, &options());
        let expected = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert_eq!(outcome.events.len() + outcome.rejected.len(), expected);
        prop_assert!(outcome.error.is_none());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
        let text = if header { [&b"user,item,action,ts,x\n"[..], &bytes].concat() } else { bytes.clone() };
        for compression in COMPRESSIONS {
            for format in [Format::JsonLines, Format::Csv] {
                let opened = source_from("in", Cursor::new(text.clone()), format, compression, &options());
                if let Ok(mut source) = opened {
                    drain(source.as_mut());
                }
            }
        }
    }

    #[test]
    fn reads_back_written_records(
        rows in prop::collection::vec(("[a-c,\"\n é]{1,12}", "[a-c,\"\n]{1,12}", 0..1_000_000_u64), 0..20)
    ) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let mut text = "user,item,action,ts\n".to_owned();
        for (user, item, ts) in &rows {
            text.extend([quoted(user), ",".into(), quoted(item), format!(",pv,{ts}\r\n")]);
        }
        let outcome = csv(&text);
        prop_assert!(outcome.rejected.is_empty());
        let read: Vec<_> = outcome.events.into_iter().map(|event| (event.user, event.item, event.ts)).collect();
        prop_assert_eq!(read, rows);
    }
}

//! Throughput of one thread: bytes to batches in events/s for each format and compression, with the simulator for
//! comparison; changes to JSON lines in changes/s and bytes/s.
//!
//! ```text
//! cargo bench -p connectors --bench codecs
//! cargo bench -p connectors --bench codecs -- writing
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark panics when it cannot run")]

use simulator::{Generator, Options};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Cursor, Write as _, sink};

use connectors::{Batch, Compression, Format, InputOptions, Polled, lines_into, source_from};
use criterion::{BatchSize, Criterion, Throughput};
use schema::{Change, Event, ListKey, Recommended};

const EVENTS: u64 = 100_000;

fn lines(line: impl Fn(&mut String, u64, u64, u64)) -> String {
    let mut text = String::new();
    // Multiples of large primes: names repeat, and consecutive names differ.
    for n in 0..EVENTS {
        line(&mut text, n * 7919 % 20_011, n * 104_729 % 10_007, 1_763_900_000_000 + n * 17);
    }
    text
}

fn json() -> String {
    lines(|text, user, item, ts| {
        writeln!(text, r#"{{"user":"u{user}","item":"p{item}","action":"click","ts":{ts}}}"#).unwrap();
    })
}

fn json_with_unknown_fields() -> String {
    lines(|text, user, item, ts| {
        writeln!(
            text,
            r#"{{"id":"e-{ts}","user":{user},"room":"r7","item":"p{item}","tags":["a","b"],"action":"click","ts":{ts},"dwell_ms":1200}}"#
        )
        .unwrap();
    })
}

fn csv() -> String {
    let rows = lines(|text, user, item, ts| writeln!(text, "u{user},p{item},click,{ts}").unwrap());
    format!("user,item,action,ts\n{rows}")
}

fn csv_quoted_with_pattern() -> String {
    let rows = lines(|text, user, item, n| {
        let (minute, second) = (n / 60 % 60, n % 60);
        writeln!(text, r#""u{user}","p{item}","said ""hello"", once",click,2025-11-23 12:{minute:02}:{second:02}"#)
            .unwrap();
    });
    format!("user,item,text,action,when\n{rows}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bench(c: &mut Criterion, name: &str, bytes: &[u8], format: Format, compression: Compression, columns: &str) {
    let options = InputOptions { columns: columns.parse().unwrap(), ..InputOptions::default() };
    let mut batch = Batch::<Event>::default();
    let mut group = c.benchmark_group("parsing");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || source_from(name, Cursor::new(bytes.to_vec()), format, compression, &options).unwrap(),
            |mut source| {
                let mut events = 0;
                loop {
                    batch.clear();
                    let polled = source.poll(&mut batch).unwrap();
                    events += black_box(&batch).len() as u64;
                    if polled == Polled::Finished {
                        break;
                    }
                }
                assert_eq!(events, EVENTS);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn bench_generator(c: &mut Criterion) {
    let options = Options { events: EVENTS, ..Options::default() };
    let generator = Generator::new(options).unwrap();
    let mut group = c.benchmark_group("parsing");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    group.bench_function("generate", |bencher| {
        bencher.iter_batched(
            || generator.clone(),
            |mut generator| {
                while let Some(event) = generator.next_event() {
                    black_box(event);
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

const CHANGES: usize = 10_000;

/// A list of ten items, two of them new; two have left.
fn change(n: usize) -> Change {
    let item = |rank: usize| format!("p{}", (n * 7_919 + rank * 104_729) % 10_007);
    Change {
        key: ListKey::User(format!("u{}", n * 7_919 % 20_011)),
        at: 1_763_900_000_000 + n as u64,
        items: (0..10)
            .zip((0..10_000).rev())
            .map(|(rank, score)| Recommended { item: item(rank), score, why: Vec::new() })
            .collect(),
        entered: (0..2).map(item).collect(),
        left: (10..12).map(item).collect(),
    }
}

fn bench_writing(c: &mut Criterion, name: &str, compression: Compression) {
    let changes: Vec<Change> = (0..CHANGES).map(change).collect();
    // Before compression.
    let bytes: usize = changes.iter().map(|change| serde_json::to_vec(change).unwrap().len() + 1).sum();
    let mut group = c.benchmark_group("writing");
    let throughput = Throughput::ElementsAndBytes { elements: CHANGES as u64, bytes: bytes as u64 };
    group.throughput(throughput).sample_size(20);
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || lines_into(name, sink(), compression).unwrap(),
            |mut lines| {
                for change in black_box(&changes) {
                    lines.write(change).unwrap();
                }
                lines.close().unwrap();
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let c = &mut criterion;
    bench_generator(c);
    let (json, csv) = (json(), csv());
    bench(c, "json", json.as_bytes(), Format::JsonLines, Compression::Plain, "ts=ts");
    bench(c, "json gz", &gzip(json.as_bytes()), Format::JsonLines, Compression::Gzip, "ts=ts");
    let zstd = zstd::encode_all(json.as_bytes(), 0).unwrap();
    bench(c, "json zst", &zstd, Format::JsonLines, Compression::Zstd, "ts=ts");
    let unknown = json_with_unknown_fields();
    bench(c, "json, unknown fields", unknown.as_bytes(), Format::JsonLines, Compression::Plain, "ts=ts");
    bench(c, "csv", csv.as_bytes(), Format::Csv, Compression::Plain, "ts=ts");
    bench(c, "csv gz", &gzip(csv.as_bytes()), Format::Csv, Compression::Gzip, "ts=ts");
    let pattern = csv_quoted_with_pattern();
    let columns = "ts=when:%Y-%m-%d %H:%M:%S";
    bench(c, "csv, quoted, time pattern", pattern.as_bytes(), Format::Csv, Compression::Plain, columns);
    bench_writing(c, "json", Compression::Plain);
    bench_writing(c, "json gz", Compression::Gzip);
    bench_writing(c, "json zst", Compression::Zstd);
    criterion.final_summary();
}

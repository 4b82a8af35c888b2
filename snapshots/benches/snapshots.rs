//! Compares the codecs of snapshots: encoding and decoding the rows of one group, in rows/s, and bytes per row. One
//! measurement also sums the decoded rows, which shows the cost of lazy decoding.
//!
//! ```text
//! cargo bench -p snapshots --bench snapshots
//! cargo bench -p snapshots --bench snapshots --features abomonation
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "criterion has no place for sizes")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use schema::{Effect, id64};
use snapshots::{CODECS, Interactions};

/// Rows of a group: a 256th of a shop with five million interactions.
const ROWS: u64 = 20_000;
/// Interactions per user.
const PER_USER: u64 = 20;

fn rows() -> Interactions {
    let mut rows = Interactions::default();
    for n in 0..ROWS {
        let user = format!("user-{}", n / PER_USER * 257);
        // A few items are in most histories.
        let rank = n * 7_919 % 20_011;
        let item = format!("product-{}", rank * rank % 20_011 * rank % 20_011 / (1 + n % 9));
        let ts = 1_763_900_000_000 + n % PER_USER * 86_400_000 + n * 104_729 % 86_400_000;
        rows.push((id64(&user), &user), (id64(&item), &item), ts, Effect::Counts(1 + (n % 6) as u8));
    }
    rows
}

fn main() {
    let rows = rows();
    let mut criterion = Criterion::default().configure_from_args();
    let sum = |rows: &Interactions| {
        rows.iter()
            .map(|row| row.ts + u64::from(row.effect.code()) + row.user.len() as u64 + row.item.len() as u64)
            .sum::<u64>()
    };
    let expected = sum(&rows);
    for codec in CODECS {
        let file = Bytes::from(codec.encode(&rows).unwrap());
        #[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
        let each = file.len() as f64 / ROWS as f64;
        println!("{}: {} bytes for {ROWS} rows, {each:.1} a row", codec.name(), file.len());
        let mut group = criterion.benchmark_group(codec.name());
        group.throughput(Throughput::Elements(ROWS));
        group.bench_function("encode", |b| b.iter(|| codec.encode(black_box(&rows)).unwrap()));
        group.bench_function("decode", |b| b.iter(|| codec.decode(black_box(&file)).unwrap()));
        group.bench_function("decode and sum", |b| {
            b.iter(|| assert_eq!(sum(&codec.decode(black_box(&file)).unwrap()), expected));
        });
        group.finish();
    }
    criterion.final_summary();
}

//! Cost of a record that is sent to another process: timely's encoding of containers (bincode, by the calls that timely
//! makes), in records/s and bytes a record.
//!
//! ```text
//! cargo bench -p dataflows --bench codecs
//! ```
//!
//! Workers exchange co-occurring pairs and similar items. A changed list is the output.

#![expect(clippy::print_stdout, reason = "sizes, which criterion does not report")]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use dataflows::operators::{Neighbour, Subscriber, Subscription};
use dataflows::time::Time;
use dataflows::types::{Diff, ItemId, Scored};
use dataflows::{ListChange, ListKey};
use timely::ExchangeData;
use timely::bytes::arc::BytesMut;
use timely::dataflow::channels::ContainerBytes;

const RECORDS: usize = 1_000;
const TIME: Time = 1_763_900_000_000 << 20;

/// Spreads numbers over 64 bits, like the id64 of names.
fn spread(n: usize) -> u64 {
    let n = schema::spread(n as u64 + 1);
    (n ^ n >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn bench<R: ExchangeData + PartialEq + std::fmt::Debug>(c: &mut Criterion, name: &str, record: impl Fn(usize) -> R) {
    let records: Vec<R> = (0..RECORDS).map(record).collect();
    let mut bytes = Vec::with_capacity(records.length_in_bytes());
    records.into_bytes(&mut bytes);
    assert_eq!(bytes.len(), records.length_in_bytes(), "{name}: the announced length is exact");
    // As received: a part of the buffer of the network thread.
    let arrived = BytesMut::from(bytes.clone()).freeze();
    assert_eq!(Vec::<R>::from_bytes(arrived.clone()), records, "{name}: decoding restores the records");
    println!("{name}: {} bytes for {RECORDS} records, {} a record", bytes.len(), bytes.len() / RECORDS);

    let mut group = c.benchmark_group("codecs");
    group.throughput(Throughput::ElementsAndBytes { elements: RECORDS as u64, bytes: bytes.len() as u64 });
    group.bench_function(format!("{name}, encode"), |bencher| {
        bencher.iter(|| {
            bytes.clear();
            // Timely asks for the length first, to reserve capacity.
            bytes.reserve(black_box(&records).length_in_bytes());
            black_box(&records).into_bytes(&mut bytes);
            bytes.len()
        });
    });
    group.bench_function(format!("{name}, decode"), |bencher| {
        bencher.iter_with_large_drop(|| Vec::<R>::from_bytes(black_box(&arrived).clone()));
    });
    group.finish();
}

fn change(n: usize) -> ListChange {
    let ids = |count: usize| (0..count).map(move |rank| spread(10 * n + rank));
    ListChange {
        key: ListKey::User(spread(n)),
        at: 1_763_900_000_000,
        items: ids(10).zip(0..).map(|(item, rank)| Scored { item, score: 10_000 - rank }).collect(),
        entered: ids(2).collect(),
        left: ids(2).map(|item| !item).collect(),
        why: Vec::new(),
        waited: Some(500),
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let c = &mut criterion;
    bench::<((ItemId, ItemId), Time, Diff)>(c, "pair", |n| ((spread(n / 50), spread(n)), TIME, 1));
    bench::<((Subscription, Neighbour), Time, Diff)>(c, "similar item", |n| {
        let similarity = u16::try_from(n % 1_024).expect("below 1024") + 1;
        (
            (
                Subscription { row: spread(n / 30), subscriber: Subscriber::Worker(1) },
                Neighbour { item: spread(n), similarity },
            ),
            TIME,
            1,
        )
    });
    bench(c, "changed list", change);
    criterion.final_summary();
}

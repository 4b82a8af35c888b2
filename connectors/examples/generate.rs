//! Writes a simulated log as JSON lines, and says to stderr how fast it was made.
//!
//! ```text
//! cargo run --release -p connectors --example generate -- events=1000000,seed=7 > events.jsonl
//! cargo run --release -p connectors --example generate -- --speed events=10000000
//! ```

use std::io::{self, BufWriter, Write};
use std::time::Instant;

use connectors::generate::{Generator, Options};
use connectors::{Batch, Polled, Source};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let speed_only = arguments.first().is_some_and(|first| first == "--speed");
    let text = arguments.get(usize::from(speed_only)).map_or("", String::as_str);
    let made = Options::parse(text).and_then(Generator::new);
    let generator = made.map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        io::Error::other(lines.join("\n"))
    })?;
    if speed_only { speed(generator) } else { write(generator) }
}

fn write(mut generator: Generator) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    while let Some(event) = generator.next_event() {
        serde_json::to_writer(&mut out, &event)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn speed(generator: Generator) -> io::Result<()> {
    let mut source = generator.clone();
    report("as a source", source.options().events, || {
        let mut batch = Batch::default();
        while matches!(source.poll(&mut batch), Ok(Polled::Ready)) {
            batch.clear();
        }
    })?;
    let mut visited = generator.clone();
    report("visited", visited.options().events, || while visited.next_event().is_some() {})?;
    report("owned", generator.options().events, || generator.for_each(drop))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
fn report(what: &str, events: u64, work: impl FnOnce()) -> io::Result<()> {
    let begun = Instant::now();
    work();
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(io::stderr(), "{what}: {events} events in {seconds:.2} s, {:.0} a second", events as f64 / seconds)
}

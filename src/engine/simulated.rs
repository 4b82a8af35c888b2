//! Simulated events, and the catalogue of the simulated shop, as inputs.

use connectors::{Batch, CatalogueRecord, Polled, RawEvent, RawItem, Source, SourceError, SourcePosition};
use schema::Position;
use simulator::{CatalogueGenerator, EventRef, Generator};

/// Records per [`Source::poll`].
const BATCH: u64 = 4_096;

/// A [`Generator`] as a [`Source`]. Line and byte of a position are the number of events before it.
pub struct Simulated {
    name: String,
    generator: Generator,
}

impl Simulated {
    /// A source that continues `generator`.
    pub fn new(generator: Generator) -> Self {
        Simulated { name: generator.options().to_string(), generator }
    }

    fn end(&self) -> Position {
        let generated = self.generator.generated();
        Position::Line { line: generated, byte: generated }
    }
}

impl Source for Simulated {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        for _ in 0..BATCH {
            let position = self.end();
            let Some(event) = self.generator.next_event() else {
                return Ok(Polled::Finished);
            };
            let EventRef { user, item, action, ts, dwell_ms, room, .. } = event;
            into.push(RawEvent { user, item, action, ts, dwell_ms, room: Some(room), position, stamped: None });
        }
        Ok(Polled::Ready)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, self.end())
    }

    /// Simulates all events before the position again.
    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        match position {
            SourcePosition::Line { line, .. } if self.generator.skip_to(*line) => Ok(()),
            _ => Err(cannot_resume(&self.name, self.end(), position)),
        }
    }
}

/// A [`CatalogueGenerator`] as a [`Source`]. Line and byte of a position are the number of records before it.
pub struct SimulatedCatalogue {
    name: String,
    generator: CatalogueGenerator,
}

impl SimulatedCatalogue {
    /// A source that continues `generator`.
    pub fn new(generator: CatalogueGenerator) -> Self {
        SimulatedCatalogue { name: generator.options().to_string(), generator }
    }

    fn end(&self) -> Position {
        let generated = self.generator.generated();
        Position::Line { line: generated, byte: generated }
    }
}

impl Source<CatalogueRecord> for SimulatedCatalogue {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, into: &mut Batch<CatalogueRecord>) -> Result<Polled, SourceError> {
        for _ in 0..BATCH {
            let position = self.end();
            let Some(record) = self.generator.next() else { return Ok(Polled::Finished) };
            let (item, ts, statement) = (record.item.as_str(), record.ts, &record.statement);
            into.push(RawItem { item, ts, statement, position, stamped: None });
        }
        Ok(Polled::Ready)
    }

    fn position(&self, batch: &Batch<CatalogueRecord>, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, self.end())
    }

    /// Simulates all records before the position again.
    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        match position {
            SourcePosition::Line { line, .. } if self.generator.skip_to(*line) => Ok(()),
            _ => Err(cannot_resume(&self.name, self.end(), position)),
        }
    }
}

fn cannot_resume(name: &str, end: Position, position: &SourcePosition) -> SourceError {
    SourceError {
        source_name: name.to_owned(),
        position: Some(end),
        what: format!("cannot resume at {position:?}"),
        advice: "resume with the options of the earlier run, before the first poll".into(),
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use schema::Event;
    use simulator::Options;

    use super::*;

    fn after(events: u64) -> SourcePosition {
        SourcePosition::Line { line: events, byte: events, fingerprint: None }
    }

    fn generator(text: &str) -> Generator {
        Options::parse(text).and_then(Generator::new).unwrap()
    }

    #[test]
    fn delivers_the_events_of_the_generator_and_resumes_anywhere() {
        let log: Vec<Event> = generator("events=10000").collect();
        for from in [0, 1, 4_096, 9_999, 10_000] {
            let mut source = Simulated::new(generator("events=10000"));
            source.resume_at(&after(from)).unwrap();
            let mut batch = Batch::default();
            let mut at = from;
            loop {
                batch.clear();
                let polled = source.poll(&mut batch).unwrap();
                for raw in (0..batch.len()).map(|index| batch.get(index).unwrap()) {
                    let event = &log[usize::try_from(at).unwrap()];
                    let expected = (event.user.as_str(), event.item.as_str(), event.action.as_str(), event.ts);
                    assert_eq!((raw.user, raw.item, raw.action, raw.ts), expected);
                    assert_eq!((raw.dwell_ms, raw.position), (event.dwell_ms, Position::Line { line: at, byte: at }));
                    at += 1;
                }
                assert_eq!(source.position(&batch, batch.len()), after(at));
                if polled == Polled::Finished {
                    break;
                }
            }
            assert_eq!(at, 10_000);
        }
        let beyond = Simulated::new(generator("events=10")).resume_at(&after(11));
        assert!(beyond.unwrap_err().to_string().contains("cannot resume at"));
    }
}

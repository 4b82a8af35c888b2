use std::io::{self, Cursor, Read, Write};

use connectors::{Batch, Compression, Format, InputOptions, OpenError, Polled, Source, SourceError, source_from};
use schema::{Position, Rejected};

/// An event with its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) user: String,
    pub(crate) item: String,
    pub(crate) action: String,
    pub(crate) ts: u64,
    pub(crate) dwell_ms: Option<i64>,
    pub(crate) room: Option<String>,
    pub(crate) position: Position,
}

impl Owned {
    pub(crate) fn line(&self) -> u64 {
        line_of(self.position)
    }
}

pub(crate) fn line_of(position: Position) -> u64 {
    match position {
        Position::Line { line, .. } => line,
        Position::Offset { .. } => panic!("{position} is not a line"),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Owned>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) error: Option<SourceError>,
}

impl Outcome {
    pub(crate) fn take(&mut self, batch: &Batch) {
        for index in 0..batch.len() {
            let event = batch.get(index).unwrap();
            self.events.push(Owned {
                user: event.user.into(),
                item: event.item.into(),
                action: event.action.into(),
                ts: event.ts,
                dwell_ms: event.dwell_ms,
                room: event.room.map(Into::into),
                position: event.position,
            });
        }
        self.rejected.extend(batch.rejected.iter().cloned());
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        self.rejected.iter().map(|rejected| rejected.reason.code()).collect()
    }

    pub(crate) fn rooms(&self) -> Vec<Option<&str>> {
        self.events.iter().map(|event| event.room.as_deref()).collect()
    }

    pub(crate) fn users(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.user.as_str()).collect()
    }
}

/// Polls until the end or an error.
pub(crate) fn drain(source: &mut dyn Source) -> Outcome {
    let mut outcome = Outcome::default();
    let mut batch = Batch::default();
    loop {
        batch.clear();
        let polled = source.poll(&mut batch);
        outcome.take(&batch);
        match polled {
            Ok(Polled::Finished) => {
                batch.clear();
                assert_eq!(source.poll(&mut batch).unwrap(), Polled::Finished, "a finished source stays finished");
                assert!(batch.is_empty() && batch.rejected.is_empty());
                return outcome;
            }
            Ok(_) => {}
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
        }
    }
}

pub(crate) fn source(bytes: &[u8], format: Format, options: &InputOptions) -> Result<Box<dyn Source>, OpenError> {
    source_from("in", Cursor::new(bytes.to_vec()), format, Compression::Plain, options)
}

pub(crate) fn read(bytes: impl AsRef<[u8]>, format: Format, options: &InputOptions) -> Outcome {
    drain(source(bytes.as_ref(), format, options).unwrap().as_mut())
}

pub(crate) fn json(bytes: impl AsRef<[u8]>) -> Outcome {
    read(bytes, Format::JsonLines, &InputOptions::default())
}

pub(crate) fn csv(bytes: impl AsRef<[u8]>) -> Outcome {
    read(bytes, Format::Csv, &InputOptions::default())
}

pub(crate) fn columns(text: &str) -> InputOptions {
    InputOptions { columns: text.parse().unwrap(), ..InputOptions::default() }
}

pub(crate) fn filtered(conditions: &[&str]) -> InputOptions {
    InputOptions { filters: conditions.iter().map(|text| text.parse().unwrap()).collect(), ..InputOptions::default() }
}

pub(crate) fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Plain => bytes.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

pub(crate) const COMPRESSIONS: [Compression; 3] = [Compression::Plain, Compression::Gzip, Compression::Zstd];

/// Returns bytes in pieces of the given sizes, which repeat.
pub(crate) struct Chunks {
    bytes: Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    next: usize,
}

impl Chunks {
    pub(crate) fn new(bytes: &[u8], sizes: &[usize]) -> Self {
        Chunks { bytes: Cursor::new(bytes.to_vec()), sizes: sizes.to_vec(), next: 0 }
    }
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.next % self.sizes.len()].min(into.len());
        self.next += 1;
        self.bytes.read(&mut into[..size])
    }
}
